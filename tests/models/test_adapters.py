"""Adapters of the user: merged from the weights as loaded, changed live, taken off without a trace, replayed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.adapters import AdapterSource, parse_adapter
from models.errors import AdapterError, ChangeError, ConfigError, WeightsError
from models.generator import Generator
from models.journal import AdapterChoice, Journal, PromptEvent
from models.load import LoadOptions, build_generator, plan_loading
from models.presets import Preset
from models.quantize import Quantize
from models.stream import Stream
from tests.models.checkpoints import random_adapters, write_adapters
from tests.models.engines import Take, make_blocks, prompts, small_preset

INK, WASH = AdapterChoice("ink", 1.0), AdapterChoice("wash", 0.5)


def preset() -> Preset:
    small = small_preset(layers=3)
    return replace(small, transformer=replace(small.transformer, dim=32, ffn_dim=48), decoder="linear")


def build(folder: Path, *, quantize: Quantize = "none", ink: float = 0.0, wash: float = 0.0) -> Generator:
    sources = []
    for seed, (name, scale) in enumerate((("ink", ink), ("wash", wash))):
        tensors = {key: 0.2 * value for key, value in random_adapters(preset().transformer, seed=seed).items()}
        sources.append(AdapterSource(name, write_adapters(folder, tensors, name=f"{name}.pt"), scale))
    return build_generator(preset(), LoadOptions(random_seed=5, adapters=tuple(sources), quantize=quantize))


def weights(generator: Generator) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in generator.parts.passes.transformer.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(_plain(tensor), _plain(other[name])) for name, tensor in one.items())


def _plain(tensor: Tensor) -> Tensor:
    return tensor.dequantize() if type(tensor) not in (Tensor, torch.nn.Parameter) else tensor


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_weights_depend_on_the_set_alone(tmp_path: Path, quantize: Quantize) -> None:
    """Off again, they are as they were loaded, bit for bit; on again, as they were the first time."""
    generator = build(tmp_path, quantize=quantize)
    adapters, before = generator.parts.adapters, weights(generator)
    assert adapters.put((INK,))
    with_ink = weights(generator)
    assert not same(with_ink, before)
    assert adapters.put((INK, WASH))
    assert not adapters.put((INK, WASH)), "nothing to do"
    assert adapters.put((INK,))
    assert same(weights(generator), with_ink)
    assert adapters.put(())
    assert same(weights(generator), before)


def test_the_sum_is_the_definition(tmp_path: Path) -> None:
    generator = build(tmp_path)
    before = weights(generator)
    generator.parts.adapters.put((INK, WASH))
    name = "blocks.1.ffn.0"
    expected = before[f"{name}.weight"].clone()
    for seed, scale in enumerate((1.0, 0.5)):
        halves = random_adapters(preset().transformer, seed=seed)
        stem = f"base_model.model.{name}"
        down, up = (0.2 * halves[f"{stem}.lora_{half}.weight"] for half in "AB")
        expected += scale * (up @ down)
    assert torch.equal(weights(generator)[f"{name}.weight"], expected)


def test_the_usual_set_is_that_of_the_scales(tmp_path: Path) -> None:
    generator = build(tmp_path, wash=0.5)
    assert generator.facts().adapters == ("ink", "wash")
    assert generator.adapters_of(None) == (WASH,)
    stream = generator.start(prompts("a red ball"), seed=1)
    assert generator.parts.adapters.current == (WASH,)
    first = stream.journal.events[0]
    assert isinstance(first, PromptEvent)
    assert first.adapters == (WASH,)
    make_blocks(generator, stream, 1)
    plain = generator.start(prompts("a red ball"), seed=1, adapters=())
    assert make_blocks(generator, plain, 1)[0].frames_sha256 == first_hash(build(tmp_path))


def first_hash(generator: Generator) -> str:
    return make_blocks(generator, generator.start(prompts("a red ball"), seed=1), 1)[0].frames_sha256


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_a_live_change_is_replayed_bit_for_bit(tmp_path: Path, quantize: Quantize) -> None:
    """Also where the sink was made with other adapters than the rest, and by an engine that stands elsewhere."""
    generator = build(tmp_path, quantize=quantize)
    take = Take(generator.start(prompts("a red ball"), seed=7, adapters=[INK]))
    take.blocks += make_blocks(generator, take.stream, 4)
    generator.set_prompt(take.stream, prompts("blue sea"), mode="recache", adapters=[WASH])
    take.blocks += make_blocks(generator, take.stream, 3)
    generator.set_prompt(take.stream, prompts("snow"), mode="flush", adapters=[])
    take.blocks += make_blocks(generator, take.stream, 2)
    assert len(set(take.hashes)) == 9
    journal = Journal.from_json(take.journal.to_json())
    assert journal == take.journal
    elsewhere = build(tmp_path, quantize=quantize, ink=1.0)
    for block in (0, 3, 4, 6, 8):
        stream = elsewhere.restore(journal, take.latents, block)
        made = make_blocks(elsewhere, stream, 9 - block)
        assert [item.frames_sha256 for item in made] == take.hashes[block:], f"restored at block {block}"


def test_streams_of_two_sets_do_not_disturb_each_other(tmp_path: Path) -> None:
    generator = build(tmp_path)
    alone = []
    for choice in (INK, WASH):
        made = make_blocks(generator, start(generator, choice), 4)
        alone.append([item.frames_sha256 for item in made])
    streams = [start(generator, choice) for choice in (INK, WASH)]
    mixed: list[list[str]] = [[], []]
    for _ in range(4):
        for place, stream in enumerate(streams):
            mixed[place].append(make_blocks(generator, stream, 1)[0].frames_sha256)
    assert mixed == alone


def start(generator: Generator, choice: AdapterChoice) -> Stream:
    return generator.start(prompts("a red ball"), seed=3, adapters=[choice])


def test_the_plan_counts_what_is_kept_in_host_memory(tmp_path: Path) -> None:
    generator = build(tmp_path)
    sources = tuple(AdapterSource(name, tmp_path / f"{name}.pt") for name in ("ink", "wash"))
    plan = plan_loading(preset(), LoadOptions(random_seed=5, adapters=sources, memory_budget_bytes=10**9))
    assert plan.host_weights_bytes == generator.parts.adapters.host_bytes


def test_files_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_adapters(other, random_adapters(preset().transformer, seed=9), name="ink.pt")
    plain = build_generator(preset(), LoadOptions(random_seed=5))
    source = (AdapterSource("ink", other / "ink.pt"),)
    changed = build_generator(preset(), LoadOptions(random_seed=5, adapters=source))
    engines = (plain, build(tmp_path), build(tmp_path, ink=1.0), changed)
    found = [engine.facts().fingerprint for engine in engines]
    assert len(set(found)) == 3
    assert found[1] == found[2], "which are merged in is for the journal to say"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([AdapterChoice("oil")], "known here are ink, wash"),
        ([INK, INK], "asked for twice"),
        ([AdapterChoice("ink", 1e9)], "scale of adapter ink"),
        ([AdapterChoice("ink", float("nan"))], "scale of adapter ink"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, choices: list[AdapterChoice], message: str) -> None:
    generator = build(tmp_path)
    with pytest.raises(AdapterError, match=message) as refused:
        generator.start(prompts("a red ball"), seed=1, adapters=choices)
    assert refused.value.field == "adapters"


def test_weights_do_not_fade(tmp_path: Path) -> None:
    generator = build(tmp_path)
    stream = generator.start(prompts("a red ball"), seed=1)
    with pytest.raises(ChangeError, match="adapters change with mode recache"):
        generator.set_prompt(stream, prompts("sea"), transition_chunks=2, adapters=[INK])
    with pytest.raises(ChangeError, match="adapters change with mode recache"):
        generator.set_prompt(stream, prompts("sea"), mode="keep", adapters=[INK])


def test_adapters_of_another_model_are_refused_before_serving(tmp_path: Path) -> None:
    path = write_adapters(tmp_path, random_adapters(small_preset().transformer), name="other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt: \d+ adapters do not fit"):
        build_generator(preset(), LoadOptions(random_seed=5, adapters=(AdapterSource("other", path),)))


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("ink=a/b.safetensors", AdapterSource("ink", Path("a/b.safetensors"))),
        ("ink=a/b.pt:0.5", AdapterSource("ink", Path("a/b.pt"), 0.5)),
        ("ink=a:b/c.pt", AdapterSource("ink", Path("a:b/c.pt"))),
        ("ink=c.pt:-1", AdapterSource("ink", Path("c.pt"), -1.0)),
    ],
)
def test_an_adapter_as_a_word(text: str, source: AdapterSource) -> None:
    assert parse_adapter(text) == source


@pytest.mark.parametrize("text", ["ink", "=a.pt", "ink=", "ink=:2"])
def test_what_is_no_adapter_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME=PATH") as refused:
        parse_adapter(text)
    assert refused.value.field == "adapters"
