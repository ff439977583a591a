"""Low-rank adapters in a file: which parameters they change, and by how much.

W' = W + scale x alpha / rank x B A. The layouts of the PEFT and diffusers libraries and the `lora_down` / `lora_up` one
are read; targets are the linear layers of the transformer's blocks. Strict: a pair without its half, a name that is no
target, a shape of another model or another rank than expected is refused, and all such are listed. Knows nothing of
where the sum goes (checkpoint.py).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor

from models.config import TransformerConfig
from models.errors import WeightsError
from models.fill import is_finite
from models.names import strip_wrappers, to_wan
from models.weights import TensorReader, open_tensors

Half = Literal["down", "up", "alpha"]
_HALVES: Final[Mapping[str, Half]] = {
    "lora_A": "down",
    "lora_down": "down",
    "lora_B": "up",
    "lora_up": "up",
    "alpha": "alpha",
}
_NAME: Final = re.compile(r"(.+)\.(lora_A|lora_B|lora_down|lora_up|alpha)(?:\.weight)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSource:
    """A file of adapters and how it is applied. `rank` and `alpha` of None are those that the file says."""

    path: Path
    rank: int | None = None
    alpha: float | None = None
    scale: float = 1.0
    key: str | None = None
    complete: bool = False
    """Whether every linear layer of every block has to be in it."""


@dataclass(slots=True)
class _Pair:
    """Names in the file of what belongs to one target."""

    names: dict[Half, str] = field(default_factory=dict)


class Lora:
    """Adapters that fit the transformer. Made by `read_lora`."""

    def __init__(self, file: TensorReader, pairs: Mapping[str, _Pair], *, alpha: float | None) -> None:
        self._file = file
        self._pairs = pairs
        self._alpha = alpha

    @property
    def source(self) -> Path:
        return self._file.source

    @property
    def targets(self) -> frozenset[str]:
        """Names of the parameters that are changed."""
        return frozenset(self._pairs)

    @property
    def nbytes(self) -> int:
        return sum(self._file.facts[name].nbytes for pair in self._pairs.values() for name in pair.names.values())

    def delta(self, name: str, *, device: torch.device | str = "cpu") -> Tensor:
        """What is added to a parameter at scale 1, [out, in] in float32. Raises WeightsError unless finite."""
        names = self._pairs[name].names
        # A read is a view that is gone with the next: each is copied before.
        down, up = (self._file.read(names[half]).to(device, torch.float32, copy=True) for half in ("down", "up"))
        alpha = self._alpha if "alpha" not in names else float(self._file.read(names["alpha"]).float())
        rank = down.shape[0]
        added = (up @ down).mul_((rank if alpha is None else alpha) / rank)
        if not is_finite(added):
            raise WeightsError(f"{self.source}: {names['down']}: expected finite values, found others", field="model")
        return added


def read_lora(source: LoraSource, config: TransformerConfig) -> Lora:
    """The adapters of a file, compared with the sizes of the transformer; no tensor is read. Raises WeightsError."""
    file = open_tensors(source.path, key=source.key)
    shapes = dict(target_shapes(config))
    pairs, problems = _pairs(file)
    for target, pair in pairs.items():
        problems += _pair_problems(file, pair, shapes.get(target), source)
    if source.complete:
        problems += [f"missing the pair for {target}" for target in shapes if target not in pairs]
    if not pairs:
        problems.append("found no adapters in it")
    if problems:
        listed = "; ".join(problems)
        raise WeightsError(f"{source.path}: {len(problems)} adapters do not fit: {listed}", field="lora")
    return Lora(file, pairs, alpha=source.alpha)


def target_shapes(config: TransformerConfig) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every linear layer of every block by the name of its weight, and its shape [out, in]."""
    dim, hidden = config.dim, config.ffn_dim
    layers = {f"{kind}.{part}": (dim, dim) for kind in ("self_attn", "cross_attn") for part in "qkvo"}
    layers |= {"ffn.0": (hidden, dim), "ffn.2": (dim, hidden)}
    for block in range(config.num_layers):
        for layer, shape in layers.items():
            yield f"blocks.{block}.{layer}.weight", shape


def _pairs(file: TensorReader) -> tuple[dict[str, _Pair], list[str]]:
    pairs: dict[str, _Pair] = {}
    problems = []
    for name, fact in file.facts.items():
        match = _NAME.fullmatch(strip_wrappers(name))
        if match is None:
            problems.append(f"unexpected {name} {list(fact.shape)}")
            continue
        half = _HALVES[match[2]]
        names = pairs.setdefault(to_wan(f"{match[1]}.weight"), _Pair()).names
        if half in names:
            problems.append(f"{name}: expected one such tensor, {names[half]} is another")
        names[half] = name
    return pairs, problems


def _pair_problems(file: TensorReader, pair: _Pair, shape: tuple[int, int] | None, source: LoraSource) -> Iterator[str]:
    named = " and ".join(pair.names.values())
    if not {"down", "up"} <= pair.names.keys():
        yield f"{named}: expected both halves of a pair"
        return
    down, up = (file.facts[pair.names[half]] for half in ("down", "up"))
    if shape is None:
        yield f"unexpected {named}: no linear layer of the blocks"
        return
    rank = source.rank or (down.shape[0] if down.shape else 0)
    for name, fact, expected in (
        (pair.names["down"], down, (rank, shape[1])),
        (pair.names["up"], up, (shape[0], rank)),
    ):
        if fact.shape != expected or not fact.dtype.is_floating_point:
            found = f"{list(fact.shape)} of {fact.dtype}"
            yield f"{name}: expected shape {list(expected)} of rank {rank}, found {found}"
