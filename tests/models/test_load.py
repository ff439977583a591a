"""From a preset to an engine: reproducible random weights, stored weights, and refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.attention import Kernel
from models.errors import ConfigError, EngineError, PresetError, WeightsError
from models.generator import Generator
from models.load import LoadOptions, build_generator, load_engine, load_generator
from models.pieces import randomise
from models.presets import Decoder, Preset
from models.text import WordEncoder
from models.tiny_decoder import TinyDecoder
from models.vae import LinearCodec
from models.weights import read_safetensors, write_safetensors
from tests.models.engines import WORDS, make_blocks, prompts, small_preset

RANDOM = LoadOptions(random_seed=0)
# The codec without weights: what is tested here is not the decoder, and the tiny one of full width is slow.
PRESET = replace(small_preset(), decoder="linear")
VOCABULARY = ("<pad>", "<unk>", *WORDS)


def hashes(generator: Generator, count: int = 3) -> list[str]:
    stream = generator.start(prompts("a red ball"), seed=1)
    return [block.frames_sha256 for block in make_blocks(generator, stream, count)]


def state(generator: Generator) -> dict[str, Tensor]:
    return generator.parts.passes.transformer.state_dict()


# Random weights


def test_random_weights_come_of_their_seed() -> None:
    one, two, other = (build_generator(PRESET, LoadOptions(random_seed=seed)) for seed in (3, 3, 4))
    assert all(torch.equal(tensor, state(two)[name]) for name, tensor in state(one).items())
    assert hashes(one) == hashes(two)
    assert not set(hashes(one)) & set(hashes(other))
    assert one.facts().fingerprint == two.facts().fingerprint != other.facts().fingerprint


def test_the_process_wide_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = build_generator(PRESET, RANDOM)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert hashes(build_generator(PRESET, RANDOM)) == hashes(one)


def test_every_weight_matters_and_stays_finite() -> None:
    """Random weights stand in for real ones: no input may go unfelt, no activation grow out of bounds."""
    generator = build_generator(PRESET, RANDOM)
    stream = generator.start(prompts("a red ball"), seed=1)
    blocks = make_blocks(generator, stream, 30)
    assert all(block.latents.isfinite().all() for block in blocks)
    assert max(block.latents.abs().max().item() for block in blocks) < 1000
    assert len({block.frames_sha256 for block in blocks}) == 30


def test_randomise_leaves_norms_and_counts_alone() -> None:
    module = nn.Sequential(nn.Linear(400, 300), nn.LayerNorm(300))
    randomise(module)
    linear, norm = module
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.LayerNorm)
    assert linear.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert linear.bias.std().item() == pytest.approx(0.02, rel=0.2)
    assert torch.equal(norm.weight, torch.ones(300))


def test_the_demo_runs_with_random_weights() -> None:
    generator = load_generator("demo", random_weights=True)
    assert isinstance(generator.parts.decoder, LinearCodec)
    block = make_blocks(generator, generator.start(prompts("a red ball"), seed=1), 1)[0]
    assert block.frames.shape == (12, 96, 96, 3)
    facts = generator.facts()
    assert (facts.model, facts.device, facts.dtype, facts.attention) == ("demo", "cpu", "float32", "auto")
    cache = generator.parts.passes.new_cache()
    tensors = (cache.keys_LBNHD, cache.values_LBNHD, cache.sink_keys_LBTHD)
    assert facts.cache_bytes_per_stream == sum(tensor.nbytes for tensor in tensors)


def test_what_is_loaded_is_not_trained() -> None:
    generator = build_generator(PRESET, RANDOM)
    transformer = generator.parts.passes.transformer
    assert not transformer.training
    assert not any(weight.requires_grad for weight in transformer.parameters())


@pytest.mark.parametrize(("decoder", "kind", "frames"), [("linear", LinearCodec, 12), ("tiny", TinyDecoder, 9)])
def test_the_presets_decoder(decoder: Decoder, kind: type[nn.Module], frames: int) -> None:
    generator = build_generator(replace(PRESET, decoder=decoder), RANDOM)
    assert isinstance(generator.parts.decoder, kind)
    assert not generator.parts.decoder.training
    block = make_blocks(generator, generator.start(prompts("a red ball"), seed=1), 1)[0]
    assert block.frames.shape == (frames, 16, 16, 3)


@pytest.mark.parametrize(("dtype", "latents"), [("float32", torch.float16), ("bfloat16", torch.bfloat16)])
def test_the_presets_dtype(dtype: str, latents: torch.dtype) -> None:
    generator = build_generator(replace(PRESET, dtype=dtype), RANDOM)  # type: ignore[arg-type]
    assert generator.parts.dtype == getattr(torch, dtype)
    block = make_blocks(generator, generator.start(prompts("a red ball"), seed=1), 1)[0]
    assert block.latents.dtype == latents


def test_a_preset_with_an_encoder_from_outside_gets_a_stand_in() -> None:
    generator = build_generator(replace(PRESET, text=None), RANDOM)
    assert generator.parts.encode("a red ball").shape == (6, 8)
    assert len(set(hashes(generator))) == 3


# Threads, kernels, fingerprints


def test_threads_are_set_and_part_of_the_fingerprint() -> None:
    fingerprints = set()
    for threads in (1, 2):
        generator = build_generator(PRESET, replace(RANDOM, threads=threads))
        assert torch.get_num_threads() == threads
        fingerprints.add(generator.facts().fingerprint)
    assert len(fingerprints) == 2
    kept = build_generator(PRESET, RANDOM)
    assert torch.get_num_threads() == 2, "as they were, unless asked for"
    assert kept.facts().fingerprint in fingerprints


def test_kernels_and_weights_are_part_of_the_fingerprint() -> None:
    kernels: tuple[Kernel, ...] = ("auto", "flash", "plain", "reference")
    options = [replace(RANDOM, kernel=kernel) for kernel in kernels] + [LoadOptions(random_seed=1)]
    generators = [build_generator(PRESET, option) for option in options]
    assert len({generator.facts().fingerprint for generator in generators}) == len(options)
    assert [generator.facts().attention for generator in generators[:4]] == list(kernels)
    assert generators[0].start(prompts("a"), seed=1).journal.fingerprint == generators[0].facts().fingerprint


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(threads: int) -> None:
    before = torch.get_num_threads()
    with pytest.raises(ConfigError, match=f"threads must be 1 or more, not {threads}") as caught:
        build_generator(PRESET, replace(RANDOM, threads=threads))
    assert caught.value.field == "threads"
    assert torch.get_num_threads() == before


def test_a_kernel_of_a_gpu_is_refused_before_anything_is_built() -> None:
    with pytest.raises(ConfigError, match="needs a CUDA device") as caught:
        build_generator(PRESET, replace(RANDOM, kernel="cudnn"))
    assert caught.value.field == "attention"


# Stored weights


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Preset, Path]:
    """A preset whose weights lie in a file: those of a random engine."""
    path = tmp_path / "small.safetensors"
    preset = replace(PRESET, weights=str(path))
    write(path, preset)
    return preset, path


def write(path: Path, preset: Preset, *, seed: int = 5, metadata: dict[str, str] | None = None) -> dict[str, Tensor]:
    generator = build_generator(preset, LoadOptions(random_seed=seed))
    assert preset.text is not None
    assert isinstance(generator.parts.decoder, nn.Module)
    modules = {
        "transformer": generator.parts.passes.transformer,
        "text_encoder": WordEncoder(replace(preset.text, vocabulary=VOCABULARY)),
        "codec": generator.parts.decoder,
    }
    tensors = {f"{kind}.{name}": t for kind, module in modules.items() for name, t in module.state_dict().items()}
    write_safetensors(path, tensors, {"vocabulary": json.dumps(VOCABULARY)} if metadata is None else metadata)
    return tensors


def test_stored_weights_are_loaded(stored: tuple[Preset, Path]) -> None:
    preset, path = stored
    expected = read_safetensors(path).tensors
    generator = build_generator(preset, LoadOptions())
    assert all(torch.equal(tensor, expected[f"transformer.{name}"]) for name, tensor in state(generator).items())
    assert hashes(generator) == hashes(build_generator(preset, LoadOptions()))
    known, unknown = (generator.parts.text_encoder.encode(prompt) for prompt in ("a red ball", "a mauve ball"))
    assert (known.unknown_words, unknown.unknown_words) == ((), ("mauve",))


def test_other_weights_are_another_fingerprint(stored: tuple[Preset, Path]) -> None:
    preset, path = stored
    before = build_generator(preset, LoadOptions()).facts().fingerprint
    write(path, preset, seed=6)
    assert build_generator(preset, LoadOptions()).facts().fingerprint != before


def test_a_missing_file_is_named(stored: tuple[Preset, Path]) -> None:
    preset, path = stored
    path.unlink()
    with pytest.raises(WeightsError, match=r"small\.safetensors: expected a file of weights"):
        build_generator(preset, LoadOptions())


def test_a_file_without_a_vocabulary_is_refused(stored: tuple[Preset, Path]) -> None:
    preset, path = stored
    write(path, preset, metadata={})
    with pytest.raises(WeightsError, match="expected metadata 'vocabulary'"):
        build_generator(preset, LoadOptions())


@pytest.mark.parametrize("name", ["transformer.blocks.1.ffn.2.bias", "text_encoder.norm.weight", "optimizer.step"])
def test_a_tensor_missing_or_left_over_is_named(stored: tuple[Preset, Path], name: str) -> None:
    preset, path = stored
    tensors = write(path, preset)
    if name in tensors:
        del tensors[name]
    else:
        tensors[name] = torch.zeros(2)
    write_safetensors(path, tensors, {"vocabulary": json.dumps(VOCABULARY)})
    with pytest.raises(WeightsError, match=name):
        build_generator(preset, LoadOptions())


# Presets by name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nothing", "model_unknown"),
        ("", "model_unknown"),
        ("wan-14b", "model_unavailable"),
    ],
)
def test_presets_that_cannot_be_served_are_refused(name: str, code: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_generator(name)
    assert isinstance(caught.value, EngineError)
    assert (caught.value.code, caught.value.field) == (code, "model")


def test_a_published_preset_is_read_from_a_folder_and_under_its_licence(tmp_path: Path) -> None:
    room = LoadOptions(memory_budget_bytes=10**11)
    for options, code in ((room, "model_unavailable"), (replace(room, model_dir=tmp_path), "licence_not_accepted")):
        with pytest.raises(PresetError) as caught:
            load_engine("longlive-1.3b", options)
        assert caught.value.code == code
