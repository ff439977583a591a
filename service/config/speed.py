"""Fast paths of the engine, and changes of the model's computation that make it quicker.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Each of them
but `tuning_dir` and `decode_stream` is part of the numerics fingerprint.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from service.config.values import Numbers

Switch = Literal["auto", "on", "off"]


class Speed(BaseModel):
    """Fast paths; `auto` takes those that are meant for a GPU where there is one, and none on a CPU."""

    fused: Switch = Field("auto", description="Fused operations between the matrix products of the transformer.")
    compile: Switch = Field(
        "auto", description="Compile the transformer's blocks and the decoder; takes minutes unless it was kept."
    )
    channels_last: Switch = Field("auto", description="Pictures of the decoder with their channels side by side.")
    graphs: Switch = Field(
        "auto", description="Record passes as CUDA graphs: for hosts that are too busy to keep a GPU fed; auto is off."
    )
    decode_stream: Switch = Field(
        "auto", description="Decode a block on a CUDA stream of its own, beside its clean pass: the same pictures."
    )
    tuning_dir: Path | None = Field(
        None,
        description="Folder for what was measured and compiled on this machine, for later starts (none: nothing is"
        " measured, and what is compiled is lost). It holds code: nobody else may write there.",
    )
    steps: Numbers = Field(
        (), description="Denoising steps of a block, falling numbers in 1..1000, in place of the preset's (none)."
    )
    reuse_last_pass: bool = Field(
        False,
        description="Keep the keys and values of a block's last denoising pass and run no clean pass; for models that"
        " were trained so.",
    )
    kv_cache: Literal["full", "int8"] = Field(
        "full", description="How keys and values are held: in the model's dtype, or in eight bits (more sessions fit)."
    )
    short_heads: int = Field(
        0, ge=0, description="Heads of each layer, those that look back least, that see a shorter window."
    )
    short_window: int | None = Field(
        None, ge=1, description="Latent frames that short heads see (none: the sink, one block and the present one)."
    )
    stagger: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="How much cleaner the first latent frame of a block is told to be than its last while it is made;"
        " for models that were trained so.",
    )
    window_frames: int | None = Field(
        None, ge=1, description="Latent frames that attention sees, in place of the preset's (none); fewer are quicker."
    )
