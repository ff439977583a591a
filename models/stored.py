"""A preset's parts with their weights: out of its one file, out of published files, or drawn from a seed.

Strict: what is missing, damaged or of another model is refused with the file named, and nothing is loaded under a
licence that was not agreed to where one has to be. The text encoder is placed where the memory plan says. Knows
nothing of kernels, quantisation or streams.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import nn

from models.checkpoint import load_transformer
from models.errors import PresetError
from models.fill import LoadProgress, load_all, stream_into
from models.licences import require_accepted
from models.pieces import (
    Decoding,
    give_random_memory,
    make_decoder,
    make_transformer,
    make_umt5,
    make_word_encoder,
    randomise,
    stand_in_tokenizer,
)
from models.presets import Preset, Role
from models.sums import check_file, files_digest
from models.text import WordEncoder
from models.tokenizer import PromptTokenizer
from models.transformer import Transformer
from models.umt5 import TextPlacement, Umt5Encoder, umt5_name
from models.weights import DIGEST_KEY, open_tensors, read_safetensors, read_words

VOCABULARY_KEY = "vocabulary"
Report = Callable[[str], None]
STEPS: Final = 10
"""Of the progress of one file that are told."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """All parts on their places, in the preset's dtype. `digest`: of the weights, or how they were drawn."""

    transformer: Transformer
    text_encoder: WordEncoder | Umt5Encoder
    decoder: Decoding
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where files lie and weights go."""

    device: torch.device
    placement: TextPlacement = "device"
    model_dir: Path | None = None
    report: Report | None = None


def stored_pieces(preset: Preset, where: Where) -> Pieces:
    """Raises PresetError or WeightsError."""
    preset.require_available()
    if preset.weights is not None:
        return _packaged_pieces(preset, Path(__file__).parent / preset.weights, where)
    return _published_pieces(preset, where)


def random_pieces(preset: Preset, where: Where, *, seed: int) -> Pieces:
    """Weights drawn from a seed, of the real layout."""
    dtype, device = getattr(torch, preset.dtype), where.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        transformer = make_transformer(preset, dtype)
        give_random_memory(transformer, device)
        encoder: WordEncoder | Umt5Encoder
        if preset.umt5 is not None:
            encoder = make_umt5(preset, stand_in_tokenizer(preset.umt5), dtype=dtype)
            give_random_memory(encoder.model, device if where.placement == "device" else torch.device("cpu"))
            encoder.place(where.placement, device)
        else:
            encoder = make_word_encoder(preset)
            randomise(encoder)
        return Pieces(transformer, encoder, make_decoder(preset).to(device, dtype), f"random-{seed}")


def _packaged_pieces(preset: Preset, path: Path, where: Where) -> Pieces:
    """From the one file of this package that holds all parts."""
    assert preset.text is not None, "a preset of this package has a word encoder"
    checkpoint = read_safetensors(path)
    words = read_words(checkpoint.metadata, VOCABULARY_KEY, source=path)
    dtype = getattr(torch, preset.dtype)
    built = Pieces(
        make_transformer(preset, dtype),
        make_word_encoder(preset, words),
        make_decoder(preset),
        checkpoint.metadata.get(DIGEST_KEY, ""),
    )
    modules: dict[str, nn.Module] = {
        "transformer.": built.transformer,
        "text_encoder.": built.text_encoder,
        "codec.": built.decoder,
    }
    load_all(modules, checkpoint.tensors, source=path)
    built.transformer.to(where.device)
    built.decoder.to(where.device, dtype)
    return built


def _published_pieces(preset: Preset, where: Where) -> Pieces:
    if where.model_dir is None:
        message = f"model {preset.name} is read from files: expected the folder they lie in"
        raise PresetError(message, field="model_dir", code="model_unavailable")
    require_accepted(preset, where.model_dir)
    preset, model_dir = _with_used_files(preset), where.model_dir
    digest = files_digest(preset, model_dir)
    told = _told(where.report, "transformer")
    transformer = load_transformer(preset, model_dir, device=where.device, progress=told)
    encoder = _stored_umt5(preset, model_dir, where)
    return Pieces(transformer, encoder, _stored_decoder(preset, model_dir, where), digest)


def _with_used_files(preset: Preset) -> Preset:
    """Without the files of the decoder that is not used: they need not be there."""
    unused: Role = "vae" if preset.decoder == "tiny" else "tiny_decoder"
    return replace(preset, files=tuple(file for file in preset.files if file.role != unused))


def _stored_umt5(preset: Preset, model_dir: Path, where: Where) -> Umt5Encoder:
    if preset.umt5 is None:
        raise PresetError(f"model {preset.name}: expected sizes of a text encoder, found none", field="umt5")
    weights, pieces = preset.require_file("text_encoder"), preset.require_file("tokenizer")
    for file in (weights, pieces):
        check_file(file, model_dir)
    tokenizer = PromptTokenizer.from_file(pieces.location(model_dir))
    encoder = make_umt5(preset, tokenizer, dtype=getattr(torch, preset.dtype))
    stream_into(
        encoder.model,
        open_tensors(weights.location(model_dir), key=weights.key),
        rename=umt5_name,
        device=where.device if where.placement == "device" else "cpu",
        progress=_told(where.report, "text encoder"),
    )
    encoder.place(where.placement, where.device)
    return encoder


def _stored_decoder(preset: Preset, model_dir: Path, where: Where) -> Decoding:
    role: Role = "vae" if preset.decoder == "full" else "tiny_decoder"
    file = preset.require_file(role)
    check_file(file, model_dir)
    decoder = make_decoder(preset)
    source = open_tensors(file.location(model_dir), key=file.key)
    if preset.decoder == "full":
        from models.wan_vae import WanVae

        assert isinstance(decoder, WanVae)
        stream_into(decoder.model, source, rename=decoder.own_name)
    else:
        stream_into(decoder, source)
    return decoder.to(where.device, getattr(torch, preset.dtype))


def _told(report: Report | None, part: str) -> Callable[[LoadProgress], None] | None:
    """Progress as a few lines."""
    if report is None:
        return None
    told = 0

    def tell(progress: LoadProgress) -> None:
        nonlocal told
        step = STEPS * progress.done_bytes // progress.total_bytes
        if step > told:
            told = step
            report(f"{part}: {100 * step // STEPS} % of {progress.total_bytes / 2**30:.2f} GiB read")

    return tell
