"""Fast paths of the engine, and changes of the model's computation that make it quicker.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Each of them
but `tuning_dir` is part of the numerics fingerprint.
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
    tuning_dir: Path | None = Field(
        None,
        description="Folder for what was measured and compiled on this machine, for later starts (none: nothing is"
        " measured, and what is compiled is lost). It holds code: nobody else may write there.",
    )
    steps: Numbers = Field(
        (), description="Denoising steps of a block, falling numbers in 1..1000, in place of the preset's (none)."
    )
    window_frames: int | None = Field(
        None, ge=1, description="Latent frames that attention sees, in place of the preset's (none); fewer are quicker."
    )
