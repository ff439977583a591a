"""Loads a small checkpoint of the published layout as a preset's would be, and compares one pass with what is expected.

A folder `checkpoint` of reference data holds `case.json` (sizes, adapter), the files `longlive_base.pt` and `lora.pt`,
and `expected.safetensors`: the inputs and the output of one pass over the first block. Other sizes are other files.
Knows nothing of caches; what the engine does over many blocks is in reference.py.
"""

import json
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from models.attention import FullAttention
from models.checkpoint import TransformerSource, load_transformer_files
from models.config import TRAINING_TIMESTEPS
from models.errors import WeightsError
from models.lora import LoraSource
from models.reference import Deviation, NamedTensors, read_transformer_config
from models.sampler import to_x0
from models.transformer import PassContext, Transformer
from models.weights import read_safetensors

FOLDER: Final = "checkpoint"
TOLERANCE: Final = 1e-3


def has_checkpoint(directory: Path) -> bool:
    """Whether the reference data in a folder has a checkpoint."""
    return (directory / FOLDER / "case.json").is_file()


@torch.inference_mode()
def run_checkpoint(
    directory: Path, *, key: str = "generator", device: torch.device | str = "cpu"
) -> tuple[Deviation, ...]:
    """Load the checkpoint in a folder of reference data and compare what it computes. Raises WeightsError.

    `key` names the dictionary of the checkpoint whose weights are taken.
    """
    folder = directory / FOLDER
    expected = folder / "expected.safetensors"
    tensors = NamedTensors(expected, read_safetensors(expected).tensors).to(device)
    noise, prompt, timestep = (_given(tensors, name) for name in ("noise", "prompt", "timestep"))
    transformer = _load(folder, key=key, device=device)
    context = PassContext(
        rope=transformer.rope(range(noise.shape[1]), height=noise.shape[-2], width=noise.shape[-1]),
        text=transformer.embed_text(prompt),
        attend=FullAttention(),
    )
    velocity = transformer(noise, time=transformer.embed_time(timestep), context=context)
    sigma = float(timestep.flatten()[0]) / TRAINING_TIMESTEPS
    x0 = to_x0("flow", velocity, noisy=noise, sigma=sigma, data_std=None)
    return (
        Deviation("velocity", "velocity", _largest(velocity, tensors.get("velocity", tuple(velocity.shape)))),
        Deviation("x0", "latent", _largest(x0, tensors.get("x0", tuple(x0.shape)))),
    )


def _load(folder: Path, *, key: str, device: torch.device | str) -> Transformer:
    case = folder / "case.json"
    described: dict[str, Any] = json.loads(case.read_text(encoding="utf-8"))
    try:
        config, lora = read_transformer_config(described["config"]), described["lora"]
        adapters = LoraSource(path=folder / "lora.pt", rank=lora["rank"], alpha=lora["alpha"], complete=True)
    except KeyError as error:
        raise WeightsError(f"{case}: expected a key {error}", field=str(error)) from None
    source = TransformerSource(weights=folder / "longlive_base.pt", key=key, loras=(adapters,))
    return load_transformer_files(config, source, device=device)


def _given(tensors: NamedTensors, name: str) -> Tensor:
    found = tensors.tensors.get(name)
    if found is None:
        raise WeightsError(f"{tensors.source}: expected {name!r}, there is none", field=name)
    return found


def _largest(ours: Tensor, theirs: Tensor) -> float:
    return (ours - theirs).abs().max().item()
