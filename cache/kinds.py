"""The forms in which a stream's keys and values are held, by name: made, and reckoned in bytes.

`full` is the dtype that is computed in, `int8` eight bits and a scale for each head and token. Knows no model.
"""

from typing import Final, Literal, get_args

import torch

from cache.int8 import Int8KVCache, int8_bytes
from cache.kv import CacheShape, KVCache
from cache.window import WindowSpec

CacheKind = Literal["full", "int8"]
CACHE_KINDS: Final[tuple[CacheKind, ...]] = get_args(CacheKind)


def make_cache(
    kind: CacheKind, spec: WindowSpec, *, shape: CacheShape, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> KVCache:
    """`dtype` is what is computed in."""
    made = KVCache if kind == "full" else Int8KVCache
    return made(spec, shape, dtype=dtype, device=device)


def cache_bytes(kind: CacheKind, spec: WindowSpec, *, shape: CacheShape, dtype: torch.dtype) -> int:
    """What `make_cache` allocates."""
    return shape.bytes(spec, dtype) if kind == "full" else int8_bytes(shape, spec)


def widened_bytes(kind: CacheKind, spec: WindowSpec, *, shape: CacheShape, dtype: torch.dtype) -> int:
    """What reading one layer takes beside the cache: keys and values as they are multiplied with, and one in float32
    on its way."""
    if kind == "full":
        return 0
    numbers = spec.slots * shape.tokens_per_frame * shape.batch * shape.heads * shape.head_dim
    return numbers * (2 * dtype.itemsize + 2 * torch.float32.itemsize)
