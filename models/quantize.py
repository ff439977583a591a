"""Weights of fewer bits: the linear layers of the blocks in INT8 or FP8, a scale for each row, inputs quantised as
they come.

Everything else (embeddings, time projection, head, norms, modulation) keeps its dtype, and so does a layer with a side
that is no multiple of 16 (longlive-spec 9.2). What is computed differs from full precision, so the kind is part of the
numerics fingerprint. Knows nothing of files, adapters or streams.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn

from models.errors import ConfigError
from models.transformer import Transformer

Quantize = Literal["none", "int8", "fp8"]
QUANTIZE: Final[tuple[Quantize, ...]] = get_args(Quantize)
SIDE: Final = 16
"""Sides of a quantised matrix are multiples of this: what the kernels are made for."""
FP8_CAPABILITY: Final = (8, 9)
_ROW_BYTES: Final[dict[Quantize, int]] = {"int8": 5, "fp8": 4}
"""Beside a row's own bytes: a scale in float32, and with int8 a zero point."""
_NOISY: Final = ("torchao", "torch.utils._pytree")


def check_quantize(kind: Quantize, *, device: torch.device, dtype: torch.dtype) -> None:
    """Raise ConfigError where this kind is unknown or cannot run on the device in the dtype."""
    if kind not in QUANTIZE:
        raise ConfigError(f"quantize must be one of {', '.join(QUANTIZE)}, not {kind!r}", field="quantize")
    if kind == "none":
        return
    _library()
    if kind == "fp8":
        capable = device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP8_CAPABILITY
        if not capable or dtype != torch.bfloat16:
            found = f"{device.type} in {str(dtype).removeprefix('torch.')}"
            message = f"quantize fp8 needs a CUDA device of compute capability 8.9 or more in bfloat16, not {found}"
            raise ConfigError(message, field="quantize")


def describe_quantize(kind: Quantize) -> str:
    """The kind, and by whose hand: for the numerics fingerprint."""
    return kind if kind == "none" else f"{kind} torchao {metadata.version('torchao')}"


def block_linears(transformer: Transformer) -> Iterator[tuple[str, nn.Linear]]:
    """The layers that are quantised, by the names of the modules."""
    for name, module in transformer.blocks.named_modules(prefix="blocks"):
        if isinstance(module, nn.Linear) and not (module.in_features % SIDE or module.out_features % SIDE):
            yield name, module


@torch.no_grad()
def quantise(transformer: Transformer, kind: Quantize) -> None:
    """In place, layer by layer, so that both forms are held of one layer only."""
    if kind == "none":
        return
    for _, linear in block_linears(transformer):
        quantise_linear(linear, kind)


@torch.no_grad()
def quantise_linear(linear: nn.Linear, kind: Quantize) -> None:
    """One layer, in place."""
    if kind == "none":
        return
    library = _library()
    rows = library.PerRow()
    if kind == "int8":
        config = library.Int8DynamicActivationInt8WeightConfig(granularity=rows, set_inductor_config=False)
    else:
        config = library.Float8DynamicActivationFloat8WeightConfig(granularity=rows, set_inductor_config=False)
    library.quantize_(linear, config)
    linear.requires_grad_(False)


def weights_bytes(transformer: Transformer, kind: Quantize, *, itemsize: int) -> int:
    """Bytes of a transformer (on any device, also meta) in a dtype of `itemsize` bytes, once quantised."""
    tensors: list[Tensor] = [*transformer.parameters(), *transformer.buffers()]
    whole = itemsize * sum(tensor.numel() for tensor in tensors)
    if kind == "none":
        return whole
    layers = [linear for _, linear in block_linears(transformer)]
    saved = sum(layer.weight.numel() for layer in layers) * (itemsize - 1)
    return whole - saved + _ROW_BYTES[kind] * sum(layer.out_features for layer in layers)


def held_bytes(module: nn.Module) -> int:
    """Bytes that a module's parameters and buffers really hold: a quantised weight is several tensors inside."""
    return sum(_held(tensor) for tensor in (*module.parameters(), *module.buffers()))


def _held(tensor: Tensor) -> int:
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        return tensor.nbytes
    names, _ = flatten()
    return sum(_held(getattr(tensor, name)) for name in names)


def _library() -> Any:
    # Imported where it is used: slow, an extra, and loud about kernels of machines that this one is not.
    try:
        with _quiet():
            from torchao import quantization
    except ModuleNotFoundError as error:
        message = f"quantize needs the package {error.name}: install longtake[quantize]"
        raise ConfigError(message, field="quantize") from error
    return quantization


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of an import; errors still come."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
