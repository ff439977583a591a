"""The transformer out of its published files: original or diffusers names, wrappers and all, adapters merged in.

Streamed: one tensor at a time goes from the file to its place, so that the host holds little more than the model. An
adapter is added once, in float32, before the weight is rounded to the dtype it is kept in. Whatever does not fit is
refused with the file and the tensors named, before anything is read. Knows nothing of the other parts of a preset.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.config import TransformerConfig
from models.errors import WeightsError
from models.fill import Progress, compare, stream_into
from models.lora import Lora, LoraSource, read_lora
from models.names import strip_wrappers, to_wan
from models.presets import Preset
from models.sums import check_file
from models.transformer import Transformer
from models.weights import TensorReader, open_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerSource:
    """The files of one transformer. `key`: which dictionary of a training checkpoint holds the weights."""

    weights: Path
    key: str | None = None
    loras: tuple[LoraSource, ...] = ()


def transformer_source(preset: Preset, model_dir: Path, *, adapters: tuple[LoraSource, ...] = ()) -> TransformerSource:
    """Where a preset's transformer lies, its own adapters first. Raises PresetError if it names none."""
    weights = preset.require_file("transformer")
    loras = list(adapters)
    lora = preset.file("lora")
    if lora is not None:
        assert preset.lora is not None, "a preset with a file of adapters has their sizes"
        own = LoraSource(
            path=lora.location(model_dir),
            rank=preset.lora.rank,
            alpha=preset.lora.alpha,
            key=lora.key,
            complete=True,
        )
        loras.insert(0, own)
    return TransformerSource(weights=weights.location(model_dir), key=weights.key, loras=tuple(loras))


def load_transformer(
    preset: Preset,
    model_dir: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
    adapters: tuple[LoraSource, ...] = (),
) -> Transformer:
    """The preset's transformer in `dtype` (its own if None), ready to run. Raises WeightsError or PresetError.

    Sums that the preset names are checked first, unless they were and the file has not changed since.
    """
    for file in preset.files:
        if file.role in ("transformer", "lora", "part"):
            check_file(file, model_dir)
    source = transformer_source(preset, model_dir, adapters=adapters)
    kept = getattr(torch, preset.dtype) if dtype is None else dtype
    return load_transformer_files(preset.transformer, source, device=device, dtype=kept, progress=progress)


def load_transformer_files(
    config: TransformerConfig,
    source: TransformerSource,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> Transformer:
    """As `load_transformer`, from files that no preset names."""
    file = open_tensors(source.weights, key=source.key)
    with torch.device("meta"):
        transformer = Transformer(config).to(dtype)
    loras = [(read_lora(lora, config), lora.scale) for lora in source.loras]

    def merged(name: str, tensor: Tensor) -> Tensor:
        return _merge(name, tensor, loras=loras, device=device)

    change = merged if loras else None
    stream_into(transformer, file, rename=parameter_name, change=change, device=device, progress=progress)
    return transformer.eval().requires_grad_(False)


def transformer_problems(config: TransformerConfig, source: TransformerSource) -> tuple[str, ...]:
    """What of the files does not fit, by their headers alone; each with its file. Nothing is loaded."""
    problems: list[str] = []
    try:
        file = open_tensors(source.weights, key=source.key)
        problems += [f"{source.weights}: {problem}" for problem in compare_transformer(config, file)]
    except WeightsError as error:
        problems.append(str(error))
    for lora in source.loras:
        try:
            read_lora(lora, config)
        except WeightsError as error:
            problems.append(str(error))
    return tuple(problems)


def compare_transformer(config: TransformerConfig, file: TensorReader) -> tuple[str, ...]:
    """What of a file does not fit a transformer of these sizes."""
    with torch.device("meta"):
        transformer = Transformer(config)
    return compare(file, transformer, rename=parameter_name)


def parameter_name(name: str) -> str:
    """Our name for a tensor of a published file."""
    return to_wan(strip_wrappers(name))


def _merge(name: str, tensor: Tensor, *, loras: list[tuple[Lora, float]], device: torch.device | str) -> Tensor:
    touching = [(lora, scale) for lora, scale in loras if name in lora.targets]
    if not touching:
        return tensor
    total = tensor.to(device, torch.float32, copy=True)
    for lora, scale in touching:
        total.add_(lora.delta(name, device=device), alpha=scale)
    return total
