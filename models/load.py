"""From the name of a preset to an engine that makes blocks: builds the parts, fills them with weights, places them.

The one place that decides on device, dtype and threads. Knows no process and no settings of the service.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from models.attention import Kernel, check_kernel
from models.errors import ConfigError
from models.fill import load_all
from models.fingerprint import numerics
from models.generator import Generator
from models.parts import assemble
from models.passes import CachedPasses
from models.presets import Preset, get_preset
from models.text import CachedTextEncoder, WordEncoder, WordEncoderConfig
from models.tiny_decoder import TinyDecoder, TinyDecoderConfig
from models.transformer import Transformer
from models.vae import LinearCodec, LinearCodecConfig, StreamDecoder
from models.weights import DIGEST_KEY, read_safetensors, read_words

VOCABULARY_KEY = "vocabulary"
LATENT_DTYPES = {"float32": torch.float16, "bfloat16": torch.bfloat16}
"""What finished latents are stored in, by the dtype that is computed in: two bytes a number in either case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How an engine is placed. `random_seed` stands in for weights: the preset then needs no file."""

    device: str = "cpu"
    threads: int | None = None
    kernel: Kernel = "auto"
    random_seed: int | None = None


def load_generator(
    preset: str = "demo", *, threads: int | None = None, random_weights: bool = False, device: str = "cpu"
) -> Generator:
    """An engine for a preset by name. Raises PresetError, ConfigError or WeightsError.

    Args:
        threads: CPU threads of torch; None leaves them as they are. Part of the numerics fingerprint.
        random_weights: fill the model with noise instead of reading files, for benchmarks and load tests.
    """
    options = LoadOptions(device=device, threads=threads, random_seed=0 if random_weights else None)
    return build_generator(get_preset(preset), options)


def build_generator(preset: Preset, options: LoadOptions) -> Generator:
    """An engine for a preset given as a value, as `load_generator` makes it."""
    check_kernel(options.kernel, options.device)
    if options.threads is not None:
        torch.set_num_threads(_positive(options.threads, "threads"))
    built = _build_random(preset, options.random_seed) if options.random_seed is not None else _build_stored(preset)
    device, dtype = torch.device(options.device), getattr(torch, preset.dtype)
    transformer = built.transformer.to(device=device, dtype=dtype).eval().requires_grad_(False)
    decoder = built.decoder.to(device).eval().requires_grad_(False)
    video = preset.video
    passes = CachedPasses(
        transformer, preset.window, height=video.latent_height, width=video.latent_width, kernel=options.kernel
    )
    latent_dtype = LATENT_DTYPES[preset.dtype]
    facts = numerics(
        model=preset.name,
        weights=built.digest,
        device=device,
        attention=options.kernel,
        dtype=preset.dtype,
        latent_dtype=str(latent_dtype).removeprefix("torch."),
        decoder=preset.decoder,
    )
    parts = assemble(
        preset,
        passes,
        text_encoder=CachedTextEncoder(built.text_encoder.eval().requires_grad_(False)),
        decoder=_as_decoder(decoder),
        latent_dtype=latent_dtype,
        fingerprint=facts.fingerprint(),
    )
    return Generator(parts)


@dataclass(frozen=True, slots=True)
class _Built:
    transformer: Transformer
    text_encoder: WordEncoder
    decoder: LinearCodec | TinyDecoder
    digest: str


def _build_stored(preset: Preset) -> _Built:
    preset.require_available()
    assert preset.weights is not None, "an available preset has a file of weights"
    assert preset.text is not None, "an available preset has a text encoder"
    path = Path(__file__).parent / preset.weights
    checkpoint = read_safetensors(path)
    words = read_words(checkpoint.metadata, VOCABULARY_KEY, source=path)
    built = _build_empty(preset, replace(preset.text, vocabulary=words), checkpoint.metadata.get(DIGEST_KEY, ""))
    modules: dict[str, nn.Module] = {
        "transformer.": built.transformer,
        "text_encoder.": built.text_encoder,
        "codec.": built.decoder,
    }
    load_all(modules, checkpoint.tensors, source=path)
    return built


def _build_random(preset: Preset, seed: int) -> _Built:
    """Weights drawn from a seed. A preset with a text encoder from outside gets a word encoder of its sizes."""
    config = preset.transformer
    text = preset.text or WordEncoderConfig(dim=config.text_dim, text_len=config.text_len, heads=1, layers=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = _build_empty(preset, text, f"random-{seed}")
        for module in (built.transformer, built.text_encoder):
            randomise(module)
    return built


def _build_empty(preset: Preset, text: WordEncoderConfig, digest: str) -> _Built:
    channels = preset.video.latent_channels
    decoder: LinearCodec | TinyDecoder
    if preset.decoder == "linear":
        decoder = LinearCodec(LinearCodecConfig(channels=channels, side=preset.video.latent_stride))
    else:
        decoder = TinyDecoder(TinyDecoderConfig(latent_channels=channels))
    return _Built(Transformer(preset.transformer), WordEncoder(text), decoder, digest)


@torch.no_grad()
def randomise(module: nn.Module) -> None:
    """Scale all weights so that activations stay finite and every input is felt in the output."""
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel() if "modulation" not in name else 4 * parameter.shape[-1]
            parameter.normal_(0.0, fan_in**-0.5)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.02)


def _as_decoder(module: LinearCodec | TinyDecoder) -> StreamDecoder:
    return module


def _positive(value: int, field: str) -> int:
    if value < 1:
        raise ConfigError(f"{field} must be 1 or more, not {value}", field=field)
    return value

