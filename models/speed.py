"""Which fast paths an engine takes: what is asked for, and what that comes to on a device.

Every fast path rounds otherwise than the plain one, so what is chosen is part of the numerics fingerprint; with none of
them the fingerprint is that of an engine without fast paths. `auto` takes what is expected to pay on a GPU and nothing
on a CPU, where the recorded takes of the demo were made by the plain path. Knows no weights, no stream.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, Protocol, cast, get_args

import torch

from cache.window import WindowSpec
from models.errors import ConfigError
from models.kernels.forms import Ops, PlainOps
from models.kernels.lean import LeanOps

Switch = Literal["auto", "on", "off"]
SWITCHES: Final[tuple[Switch, ...]] = get_args(Switch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What is asked for."""

    fused: Switch = "auto"
    """Fused operations between the matrix products: Triton's on a GPU, few torch calls on a CPU."""
    compile: Switch = "auto"
    """Blocks and decoder through torch.compile, a region at a time."""
    channels_last: Switch = "auto"
    """Pictures of the decoder with their channels side by side."""
    graphs: Switch = "auto"
    """Passes of a full window recorded as CUDA graphs; `auto` is off."""
    decode_stream: Switch = "auto"
    """Blocks decoded on a CUDA stream of their own, beside their clean pass: the same bits."""
    tuning_dir: Path | None = None
    """Where what was measured and compiled is kept for later starts; None: nowhere."""
    backend: str = "inductor"
    """Of torch.compile; another one only counts (`eager`, `aot_eager`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What it comes to on one device."""

    fused: bool
    compile: bool
    channels_last: bool
    graphs: bool
    decode_stream: bool
    ops: Ops
    backend: str

    @property
    def hot(self) -> bool:
        """Whether passes go by models/hot.py at all."""
        return self.fused or self.compile or self.graphs

    def describe(self) -> Mapping[str, str]:
        """For the fingerprint: empty where nothing is chosen. A recorded graph computes what it was recorded from."""
        facts = {}
        if self.hot:
            facts["ops"] = self.ops.name if self.ops.name != "triton" else f"triton {metadata.version('triton')}"
        if self.compile:
            facts["compiled"] = self.backend
        if self.channels_last:
            facts["layout"] = "channels last"
        return facts


class SpeedSettings(Protocol):
    """The settings of the service that are about fast paths, from whichever side they come."""

    @property
    def fused(self) -> str: ...
    @property
    def compile(self) -> str: ...
    @property
    def channels_last(self) -> str: ...
    @property
    def graphs(self) -> str: ...
    @property
    def decode_stream(self) -> str: ...
    @property
    def tuning_dir(self) -> Path | str | None: ...


def speed_of(settings: SpeedSettings) -> Speed:
    """Names were compared with those that there are when the settings were read; `choose` does so again."""
    return Speed(
        fused=cast(Switch, settings.fused),
        compile=cast(Switch, settings.compile),
        channels_last=cast(Switch, settings.channels_last),
        graphs=cast(Switch, settings.graphs),
        decode_stream=cast(Switch, settings.decode_stream),
        tuning_dir=Path(settings.tuning_dir) if settings.tuning_dir is not None else None,
    )


def choose(speed: Speed, *, device: torch.device, window: WindowSpec) -> Chosen:
    """Raises ConfigError for what cannot be done on the device."""
    for name in ("fused", "compile", "channels_last", "graphs", "decode_stream"):
        value = getattr(speed, name)
        if value not in SWITCHES:
            raise ConfigError(f"{name} must be one of {', '.join(SWITCHES)}, not {value!r}", field=name)
    cuda = device.type == "cuda"
    fused = _switch(speed.fused, cuda and _has("triton"))
    compiled = _switch(speed.compile, cuda and window.window_frames is not None)
    if compiled and window.window_frames is None:
        message = "compile needs a window that is bounded: without one every block has shapes of its own"
        raise ConfigError(message, field="compile")
    for name in ("graphs", "decode_stream"):
        if getattr(speed, name) == "on" and not cuda:
            raise ConfigError(f"{name} needs a CUDA device, not {device}", field=name)
    if speed.fused == "on" and cuda and not _has("triton"):
        raise ConfigError("fused needs the package triton on a CUDA device", field="fused")
    return Chosen(
        fused=fused,
        compile=compiled,
        channels_last=_switch(speed.channels_last, cuda),
        graphs=speed.graphs == "on",
        decode_stream=_switch(speed.decode_stream, cuda),
        ops=_ops(fused, cuda=cuda),
        backend=speed.backend,
    )


def _switch(asked: Switch, usual: bool) -> bool:
    return usual if asked == "auto" else asked == "on"


def _ops(fused: bool, *, cuda: bool) -> Ops:
    if not fused:
        return PlainOps()
    if not cuda:
        return LeanOps()
    # Imported where it is used: it is there on GPU machines only.
    from models.kernels.triton_forms import TritonOps

    return TritonOps()


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
