"""The configuration of one training stage, read from a TOML file and checked.

Knows files and values only. Unknown keys are errors: a misspelt setting must not train for an hour unnoticed.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

from models.train.adapters import AdapterConfig
from models.train.anchored import PairConfig
from models.train.batches import BatchConfig
from models.train.bundle import DemoSizes
from models.train.course import CourseConfig
from models.train.cuts import DecoderBatch
from models.train.losses import NoiseLevels
from models.train.optim import Rates
from models.train.pool import PoolConfig

Stage = Literal["single", "causal", "decoder", "distill", "long"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
Section = TypeVar("Section")


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """Objective of the stages that learn from a teacher."""

    objective: Literal["dmd", "regression"] = "dmd"
    guidance: float = 1.0
    """How far the teacher's x0 is moved on from what it makes without text; 0 for none (published: 3)."""
    generator_every: int = 5
    """Updates of the critic for one of the generator."""
    substeps: int = 3
    """Steps of the teacher's path, for `regression`."""
    negative_prompt: str = ""
    """What the teacher is guided away from."""


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage of training."""

    stage: Stage
    minutes: float = 30.0
    """Wall-clock budget; the learning rates follow it."""
    seed: int = 1
    threads: int = 2
    device: str = "cpu"
    object_weight: float = 5.0
    log_every: int = 20
    """Steps."""
    save_every: float = 180.0
    """Seconds between checkpoints."""
    sheet_clips: int = 16
    """Clips on the sample sheet that is written with every checkpoint; 0 for none."""
    start: str = ""
    """Folder of the run whose averaged weights this stage starts from, or of exported weights (`models/demo`); empty
    for new weights."""
    teacher: str = ""
    """Folder of the run (or of exported weights) whose average is the teacher; empty for the stage's own start."""
    preset: str = "demo"
    """Whose networks the stages on self-made streams train; another than the demo is read from its files."""
    preset_dir: str = ""
    model_dir: str = ""
    random_weights: bool = False
    """In place of a preset's files, to see a configuration run."""
    sharded: bool = False
    """Networks split over all processes (FSDP2) instead of whole in each."""
    prompts: str = ""
    """File of prompts for self-made streams, see prompts.py; empty for captions of the small world."""
    later_prompts: str = ""
    """What those change to, for streams that switch."""
    shift: float = 3.0
    """Shift of the sampling steps of streams and sample sheets."""
    steps: tuple[int, ...] = ()
    """Nominal sampling steps of self-made streams; empty for the preset's, which are four for the demo."""
    sizes: DemoSizes = field(default_factory=DemoSizes)
    pool: PoolConfig = field(default_factory=PoolConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    pairs: PairConfig = field(default_factory=PairConfig)
    decoder: DecoderBatch = field(default_factory=DecoderBatch)
    course: CourseConfig = field(default_factory=CourseConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    adapters: AdapterConfig = field(default_factory=AdapterConfig)
    levels: NoiseLevels = field(default_factory=NoiseLevels)
    rates: Rates = field(default_factory=Rates)
    critic_rates: Rates = field(default_factory=lambda: Rates(adamw=2e-4, decay_share=0.0, average=0.0))


_SECTIONS: Final[Mapping[str, type[Any]]] = {
    "sizes": DemoSizes,
    "pool": PoolConfig,
    "batch": BatchConfig,
    "pairs": PairConfig,
    "decoder": DecoderBatch,
    "course": CourseConfig,
    "distill": DistillConfig,
    "adapters": AdapterConfig,
    "levels": NoiseLevels,
    "rates": Rates,
    "critic_rates": Rates,
}


def read_config(path: Path) -> StageConfig:
    """The configuration in a file. Raises ValueError naming the key that is unknown or the stage that is not one."""
    return parse_config(tomllib.loads(path.read_text(encoding="utf-8")), source=str(path))


def parse_config(values: Mapping[str, Any], *, source: str) -> StageConfig:
    """The configuration in a parsed TOML document."""
    if values.get("stage") not in STAGES:
        raise ValueError(f"{source}: expected stage to be one of {', '.join(STAGES)}, got {values.get('stage')!r}")
    read = {
        key: _section(_SECTIONS[key], value, f"{source} [{key}]") if key in _SECTIONS else value
        for key, value in values.items()
    }
    return _section(StageConfig, read, source)


def _section(kind: type[Section], values: Mapping[str, Any], source: str) -> Section:
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{source}: expected keys out of {', '.join(sorted(known))}, got {', '.join(unknown)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
