"""Every form of the fused operations against the plain one, on odd and real shapes: `python -m` prints JSON.

A process of its own: Triton's interpreter has to be chosen before the package is read, and with it the same kernels
that a GPU compiles run on a CPU.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.kernels.forms import LayerMemory, Ops, PlainOps, Turn
from models.kernels.lean import LeanOps

EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Sizes:
    """Batch, frames, tokens of a frame, heads, width of a head, tokens of the cache."""

    batch: int
    frames: int
    per_frame: int
    heads: int
    head_dim: int
    cache: int


# An odd one, the demo's heads and the 1.3B's with a few of their tokens.
SHAPES = (
    Sizes(2, 3, 3, 2, 20, 24),
    Sizes(1, 1, 5, 5, 12, 17),
    Sizes(1, 3, 2, 3, 64, 36),
    Sizes(1, 3, 1, 12, 128, 12),
)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), device="cpu")


def computed(
    ops: Ops, sizes: Sizes, dtype: torch.dtype, *, device: torch.device | str = "cpu"
) -> Iterator[tuple[str, Tensor]]:
    """What each operation gives, and what it leaves in the cache, by name."""
    tokens, width = sizes.frames * sizes.per_frame, sizes.heads * sizes.head_dim
    x, update = (draw(seed, sizes.batch, tokens, width).to(device, dtype) for seed in (1, 2))
    weight = draw(3, width).to(device, dtype)
    yield "norm", ops.norm(x, weight, EPS)
    yield "gelu", ops.gelu(x)
    for frames, batch in ((1, 1), (sizes.frames, 1), (sizes.frames, sizes.batch)):
        shift, scale = (draw(seed, batch, frames, width).to(device, dtype) for seed in (4, 5))
        yield f"modulate {frames} {batch}", ops.modulate(x, shift, scale, EPS)
        yield f"gate {frames} {batch}", ops.gate(x, update, scale)
    # A layer in the middle of a cache: its neighbours must stay as they are.
    size = (3, sizes.batch, sizes.cache, sizes.heads, sizes.head_dim)
    keys, values = (torch.zeros(size, dtype=dtype, device=device) for _ in range(2))
    angles = draw(6, tokens, 1, sizes.head_dim // 2).to(device)
    drawn = torch.Generator().manual_seed(7)
    slots = torch.randperm(sizes.cache, generator=drawn, device="cpu")[:tokens].to(device)
    qkv, norms = draw(8, sizes.batch, tokens, 3, width).to(device, dtype), draw(9, 2, width).to(device, dtype)
    turn, memory = Turn(angles.cos(), angles.sin(), slots), LayerMemory(keys[1], values[1])
    yield "queries", ops.store(qkv, norms, turn=turn, memory=memory, eps=EPS)
    yield "keys", keys
    yield "values", values


def deviations(ops: Ops) -> Iterator[dict[str, object]]:
    """The largest difference of each result, as a share of the largest number."""
    for sizes in SHAPES:
        for dtype_name, dtype in DTYPES.items():
            pairs = zip(computed(PlainOps(), sizes, dtype), computed(ops, sizes, dtype), strict=True)
            for (name, plain), (_, other) in pairs:
                plain, other = plain.double(), other.double()
                apart = float((plain - other).abs().max() / plain.abs().max())
                yield {"ops": ops.name, "what": name, "dtype": dtype_name, "apart": apart, "sizes": str(sizes)}


def triton_ops() -> Ops:
    from models.kernels.triton_forms import TritonOps

    return TritonOps()


FORMS: dict[str, Callable[[], Ops]] = {"lean": LeanOps, "triton": triton_ops}


def main() -> None:
    if "triton" in sys.argv[1:]:
        assert os.environ.get("TRITON_INTERPRET") == "1", "this machine has no GPU: the interpreter is asked for"
    with torch.inference_mode():
        print(json.dumps([item for name in sys.argv[1:] for item in deviations(FORMS[name]())]))


if __name__ == "__main__":
    main()
