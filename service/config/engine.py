"""The model that is loaded, and how it is run.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from service.config.values import Words


class Engine(BaseModel):
    """The model that is loaded, and how it is run."""

    preset: str = Field("demo", min_length=1, description="The model the worker loads.")
    preset_dir: Path | None = Field(
        None, description="Folder with further presets, a TOML file each (none: only those that come with the service)."
    )
    model_dir: Path | None = Field(
        None,
        description="Where the files of presets lie and are downloaded to (none: `longtake/models` in the user's"
        " folder for data).",
    )
    random_weights: bool = Field(False, description="Run the preset without its files, for load tests.")
    device: str = Field(
        "auto",
        min_length=1,
        description="Where the engine runs: cpu, cuda, cuda:N, or auto, a CUDA device where there is one.",
    )
    attention: Literal["auto", "cudnn", "flash", "flash3", "efficient", "plain", "xformers", "reference"] = Field(
        "auto",
        description="Kernel of attention; auto is the quickest measured on a GPU, where there is a `tuning_dir`, and"
        " else leaves it to torch.",
    )
    decoder: Literal["linear", "refined", "tiny", "full"] | None = Field(
        None, description="Another decoder than the preset's own: tiny, or full, which is slower and finer."
    )
    quantize: Literal["none", "int8", "fp8"] = Field(
        "none", description="Fewer bits for the linear layers of the blocks; fp8 needs a recent GPU."
    )
    adapters: Words = Field(
        (),
        description="Low-rank adapters that sessions may ask for, NAME=PATH or NAME=PATH:SCALE each (separated by"
        " commas in the environment); where a session does not say, all of them are merged in, each at its scale.",
    )
    worker_threads: int = Field(1, ge=1, le=256, description="Threads of the engine for one operation.")
    encoder_threads: int = Field(1, ge=1, le=64, description="Threads that encode frames.")
    lead_blocks: int = Field(1, ge=1, le=16, description="Blocks a live session may be made ahead of its clock.")
    guard: bool = Field(True, description="Make a block again that comes out black, saturated or frozen.")
    mark_frames: bool = Field(
        False,
        description="Test mode: draw the number of its chunk and its place in it into each frame that is sent, as 24"
        " squares at the top left.",
    )
    memory_budget_bytes: int | None = Field(
        None,
        ge=1,
        description="Memory the worker may use for model and streams (none: the device's, or 60 % of what the"
        " host has free).",
    )
    copy_bytes: int | None = Field(
        None,
        ge=0,
        description="Host memory for copies of streams, which bring a session back at once (none: what the memory plan"
        " leaves for them). Without a copy it is made from its latents again.",
    )
    turn_blocks: int = Field(
        8, ge=1, le=64, description="Most blocks in a row of an unpaced session where sessions take turns."
    )
    interrupts_per_block: int = Field(
        2, ge=0, le=16, description="Times one block may be given up for a newer prompt; 0 turns it off."
    )
