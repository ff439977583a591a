"""What the parameters of one transformer are called elsewhere, and how those names become ours (Wan2.1's own).

Two things are told apart: wrappers, which training code leaves in front of or inside names, and the names of the
diffusers library, which has the same tensors under others (longlive-spec 1.5, 1.6). Strings only; no value is changed.
Invariant: on every parameter of the transformer, `to_wan(to_diffusers(name)) == name`.
"""

import re
from typing import Final

WRAPPERS: Final = ("_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod", "module", "base_layer", "default")
"""Parts of a name that only say how the module was wrapped; they may stand anywhere."""
LEADING: Final = ("base_model", "model", "transformer", "diffusion_model")
"""The same, but only in front: further in they could be real names."""

_OUTER: Final = (
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("head.head", "proj_out"),
    ("head.modulation", "scale_shift_table"),
)
_INNER: Final = (
    ("self_attn.o", "attn1.to_out.0"),
    ("cross_attn.o", "attn2.to_out.0"),
    *(
        (f"{ours}.{part}", f"{theirs}.to_{part}")
        for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for part in ("q", "k", "v")
    ),
    *(
        (f"{ours}.{part}", f"{theirs}.{part}")
        for ours, theirs in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for part in ("norm_q", "norm_k")
    ),
    ("norm3", "norm2"),  # the library counts the two norms without weights otherwise
    ("ffn.0", "ffn.net.0.proj"),
    ("ffn.2", "ffn.net.2"),
    ("modulation", "scale_shift_table"),
)
_BLOCK: Final = re.compile(r"(blocks\.\d+\.)(.+)")


def strip_wrappers(name: str) -> str:
    """The name without what wrapped modules have put into it."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    while len(parts) > 1 and parts[0] in LEADING:
        parts.pop(0)
    return ".".join(parts)


def to_wan(name: str) -> str:
    """Our name for a parameter that the library calls `name`; a name that is not the library's stays."""
    return _rename(name, _OUTER_TO_WAN, _INNER_TO_WAN)


def to_diffusers(name: str) -> str:
    """The library's name for one of our parameters."""
    return _rename(name, _OUTER_TO_DIFFUSERS, _INNER_TO_DIFFUSERS)


def _rename(name: str, outer: dict[str, str], inner: dict[str, str]) -> str:
    block = _BLOCK.fullmatch(name)
    if block is None:
        return _renamed(name, outer)
    return block[1] + _renamed(block[2], inner)


def _renamed(name: str, table: dict[str, str]) -> str:
    """Whole dotted parts only: `self_attn.o` is not the beginning of `self_attn.other`."""
    if name in table:
        return table[name]
    module, _, parameter = name.rpartition(".")
    return f"{table[module]}.{parameter}" if module in table else name


_OUTER_TO_DIFFUSERS: Final = dict(_OUTER)
_INNER_TO_DIFFUSERS: Final = dict(_INNER)
_OUTER_TO_WAN: Final = {theirs: ours for ours, theirs in _OUTER}
_INNER_TO_WAN: Final = {theirs: ours for ours, theirs in _INNER}
