"""The user's low-rank adapters: which are known, which are merged into the weights now, and how they are changed.

All streams of an engine share its weights, so one set is in place at a time; the engine puts a stream's own set in
place before it works on it. Always merged anew, in float32, from the weights as they were loaded (kept in host memory),
never taken off again by subtraction: so the weights depend on the set alone, bit for bit, and not on how it came
about. Knows nothing of streams.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from models.errors import AdapterError, ConfigError
from models.journal import AdapterChoice
from models.lora import Lora, LoraSource, read_lora
from models.quantize import Quantize, quantise_linear
from models.sums import file_sha256
from models.transformer import Transformer

MAX_SCALE: Final = 100.0


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """A file of adapters, the name it goes by, and the scale it has where a stream does not say."""

    name: str
    path: Path
    scale: float = 1.0


def parse_adapter(text: str) -> AdapterSource:
    """`NAME=PATH` or `NAME=PATH:SCALE`. Raises ConfigError."""
    name, equals, rest = text.partition("=")
    path, colon, scale = rest.rpartition(":")
    if not colon:
        path, scale = rest, "1"
    try:
        number = float(scale)
    except ValueError:
        path, number = rest, 1.0  # the colon belongs to the path
    if not equals or not name.strip() or not path.strip():
        raise ConfigError(f"an adapter must be NAME=PATH or NAME=PATH:SCALE, not {text!r}", field="adapters")
    _check_scale(name, number)
    return AdapterSource(name.strip(), Path(path.strip()), number)


class Adapters:
    """The adapters of one transformer. Made before its weights are quantised."""

    def __init__(
        self, transformer: Transformer, sources: Sequence[AdapterSource] = (), *, quantize: Quantize = "none"
    ) -> None:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"adapters must have names of their own, {twice[0]!r} comes twice", field="adapters")
        config = transformer.config
        self._loras: Mapping[str, Lora] = {
            source.name: read_lora(LoraSource(path=source.path), config) for source in sources
        }
        self.digests: Final[Mapping[str, str]] = {source.name: file_sha256(source.path) for source in sources}
        self.usual: Final = self.resolve([AdapterChoice(source.name, source.scale) for source in sources])
        """The set of a stream that asks for none in particular."""
        self.current: tuple[AdapterChoice, ...] = ()
        """The set that is in place."""
        targets = {name for lora in self._loras.values() for name in lora.targets}
        self._linears = {name: _linear(transformer, name) for name in sorted(targets)}
        self._loaded = {name: linear.weight.detach().cpu().clone() for name, linear in self._linears.items()}
        self._quantize: Quantize = quantize

    @property
    def known(self) -> tuple[str, ...]:
        return tuple(self._loras)

    @property
    def host_bytes(self) -> int:
        """Of the weights as they were loaded."""
        return sum(tensor.nbytes for tensor in self._loaded.values())

    def resolve(self, choices: Iterable[AdapterChoice] | None) -> tuple[AdapterChoice, ...]:
        """A set as it is compared and written down: known names in their order, those at scale 0 left out.

        None is the usual set. Raises AdapterError for a name that is not known, twice there, or a scale out of range.
        """
        if choices is None:
            return self.usual
        asked: dict[str, AdapterChoice] = {}
        for choice in choices:
            if choice.name not in self._loras:
                known = ", ".join(self._loras) or "none"
                raise AdapterError(f"adapters known here are {known}, not {choice.name[:100]!r}", field="adapters")
            if choice.name in asked:
                raise AdapterError(f"adapter {choice.name} is asked for twice", field="adapters")
            _check_scale(choice.name, choice.scale)
            asked[choice.name] = choice
        return tuple(asked[name] for name in self._loras if name in asked and asked[name].scale)

    @torch.inference_mode(False)
    @torch.no_grad()
    def put(self, choices: tuple[AdapterChoice, ...]) -> bool:
        """Put a resolved set in place. True if the weights have changed."""
        if choices == self.current:
            return False
        before, now = self._targets(self.current), self._targets(choices)
        for name in sorted(before | now):
            self._set(name, self._merged(name, choices))
        self.current = choices
        return True

    def _targets(self, choices: tuple[AdapterChoice, ...]) -> set[str]:
        return {name for choice in choices for name in self._loras[choice.name].targets}

    def _merged(self, name: str, choices: tuple[AdapterChoice, ...]) -> Tensor:
        loaded = self._loaded[name]
        device = self._linears[name].weight.device
        touching = [choice for choice in choices if name in self._loras[choice.name].targets]
        if not touching:
            return loaded
        total = loaded.to(device, torch.float32, copy=True)
        for choice in touching:
            total += choice.scale * self._loras[choice.name].delta(name, device=device)
        return total.to(loaded.dtype)

    def _set(self, name: str, weight: Tensor) -> None:
        linear = self._linears[name]
        if type(linear.weight) is nn.Parameter:
            linear.weight.copy_(weight)
            return
        # A quantised weight is made anew from the plain one, which gives the same bits each time.
        linear.weight = nn.Parameter(weight.to(linear.weight.device), requires_grad=False)
        quantise_linear(linear, self._quantize)


def _linear(transformer: Transformer, weight_name: str) -> nn.Linear:
    module = transformer.get_submodule(weight_name.removesuffix(".weight"))
    assert isinstance(module, nn.Linear), f"{weight_name} is a target of adapters"
    return module


def _check_scale(name: str, scale: float) -> None:
    if not isfinite(scale) or abs(scale) > MAX_SCALE:
        message = f"scale of adapter {name} must be {-MAX_SCALE:.0f}..{MAX_SCALE:.0f}, not {scale:g}"
        raise AdapterError(message, field="adapters")
