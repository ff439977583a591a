"""The hot path: the published tensors on every form, the plain path's numbers, restoring, and streams in between."""

from pathlib import Path

import pytest
import torch

from cache.window import WindowSpec, WindowState
from models.errors import ConfigError
from models.generator import Generator
from models.hot import Forms, HotPath, pack
from models.kernels.forms import Ops, PlainOps
from models.kernels.lean import LeanOps
from models.load import LoadOptions, build_generator
from models.passes import CachedPasses
from models.presets import Preset
from models.reference import list_cases, read_case, run_case
from models.speed import Speed
from models.verify import verify
from tests.models.engines import Take, make_blocks, prompts, small_preset

CASES = Path(__file__).parent.parent / "reference" / "data"
FORMS: tuple[Ops, ...] = (PlainOps(), LeanOps())
FUSED = Speed(fused="on", channels_last="on")
# Compiled with a backend that runs what was traced, which takes moments.
TRACED = Speed(fused="on", compile="on", backend="eager")
PATHS = {"fused": FUSED, "traced": TRACED}
BLOCKS = 9


@pytest.mark.parametrize("ops", FORMS, ids=lambda ops: str(ops.name))
@pytest.mark.parametrize("name", list_cases(CASES))
def test_the_published_tensors(name: str, ops: Ops) -> None:
    deviations = run_case(read_case(CASES, name), forms=Forms(ops, "auto"))
    assert deviations
    assert [deviation for deviation in deviations if not deviation.largest <= 1e-4] == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ops", FORMS, ids=lambda ops: str(ops.name))
def test_a_pass_is_the_plain_path_s(ops: Ops, dtype: torch.dtype) -> None:
    """Two blocks with their clean passes, so that the cache that one path left is what the other reads."""
    plain, hot = (made_passes(dtype, ops if fast else None) for fast in (False, True))
    outs = [run_two_blocks(passes) for passes in (plain, hot)]
    limit = 1e-4 if dtype == torch.float32 else 2e-2
    for one, other in zip(*outs, strict=True):
        assert (one - other).abs().max() <= limit * one.abs().max()


def made_passes(dtype: torch.dtype, ops: Ops | None) -> CachedPasses:
    preset = small_preset()
    transformer = build_generator(preset, LoadOptions(random_seed=3)).parts.passes.transformer.to(dtype)
    hot = None if ops is None else HotPath(transformer, Forms(ops, "auto"))
    return CachedPasses(transformer, preset.window, height=4, width=6, hot=hot)


@torch.inference_mode()
def run_two_blocks(passes: CachedPasses) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    cache, window, outs = passes.new_cache(), WindowState(passes.spec), []
    text = passes.transformer.embed_text(torch.randn(1, 6, 8, generator=draw))
    for _ in range(2):
        latents = torch.randn(1, 3, 4, 4, 6, generator=draw).to(passes.transformer.dtype)
        plan = window.plan_block()
        context = passes.prepare(cache, plan, text=text)
        outs.append(passes.run(latents, time=passes.embed_timestep(600.0), context=context).float())
        clean = passes.embed_timestep(0.0)
        passes.rebuild(cache, plan, frames=lambda *_, latents=latents: latents, text=text, time=clean)
        window = window.advance()
    return [*outs, cache.keys_LBNHD.float(), cache.values_LBNHD.float()]


def test_packed_weights_are_held_once_and_changed_in_place() -> None:
    transformer = build_generator(small_preset(), LoadOptions(random_seed=3)).parts.passes.transformer
    attn = next(iter(transformer.blocks)).self_attn
    before = attn.k.weight.clone()
    packed = pack(attn)
    assert packed.weight is not None
    assert torch.equal(attn.k.weight, before)
    assert attn.k.weight.untyped_storage().data_ptr() == packed.weight.untyped_storage().data_ptr()
    with torch.no_grad():
        attn.k.weight.copy_(torch.zeros_like(before))
    assert packed.weight[24:48].abs().max() == 0
    assert packed.weight[:24].abs().max() > 0


def engine(speed: Speed, preset: Preset | None = None) -> Generator:
    return build_generator(preset or small_preset(), LoadOptions(random_seed=1, speed=speed))


def filmed(generator: Generator) -> Take:
    """With every kind of prompt change on the way."""
    take = Take(generator.start(prompts("a red ball"), seed=7))
    changes = {2: ("recache", "keep"), 4: ("flush", "keep"), 5: ("keep", "keep"), 6: ("recache", "refresh")}
    for block in range(BLOCKS):
        if block in changes:
            mode, sink = changes[block]
            generator.set_prompt(take.stream, prompts(f"blue sea {block}"), mode=mode, sink=sink)  # type: ignore[arg-type]
        take.blocks += make_blocks(generator, take.stream, 1)
    return take


@pytest.mark.parametrize("speed", PATHS.values(), ids=PATHS)
def test_restored_at_every_block_in_another_engine(speed: Speed) -> None:
    """By replay and by copy, by an engine that was loaded anew, as after a restart."""
    first = engine(speed)
    take = filmed(first)
    assert len(set(take.hashes)) == BLOCKS
    again = engine(speed)
    assert again.facts().fingerprint == first.facts().fingerprint
    copying = first.restore(take.journal, take.latents, 0)
    for block in range(BLOCKS):
        for copy in (None, first.save(copying)) if block in (3, 5, 7) else (None,):
            stream = again.restore(take.journal, take.latents, block, snapshot=copy)
            made = make_blocks(again, stream, min(2, BLOCKS - block))
            assert [item.frames_sha256 for item in made] == take.hashes[block : block + 2], f"restored at {block}"
        make_blocks(first, copying, 1)


@pytest.mark.parametrize("speed", PATHS.values(), ids=PATHS)
def test_streams_in_between_do_not_show(speed: Speed) -> None:
    generator = engine(speed)
    alone = [make_blocks(generator, generator.start(prompts("a red ball"), seed=seed), 6) for seed in (1, 2)]
    streams = [generator.start(prompts("a red ball"), seed=seed) for seed in (1, 2)]
    mixed: list[list[str]] = [[], []]
    for _ in range(6):
        for stream, hashes in zip(streams, mixed, strict=True):
            hashes += [block.frames_sha256 for block in make_blocks(generator, stream, 1)]
    assert mixed == [[block.frames_sha256 for block in blocks] for blocks in alone]


def test_the_engine_is_verified() -> None:
    assert [finding for finding in verify(engine(FUSED), blocks=6) if not finding.passed] == []


def test_each_path_is_a_fingerprint_of_its_own() -> None:
    paths = [Speed(), FUSED, Speed(fused="on"), TRACED, Speed(channels_last="on")]
    marks = [engine(speed).facts().fingerprint for speed in paths]
    assert len(set(marks)) == len(paths)
    assert engine(Speed(fused="off", compile="off", channels_last="off")).facts().fingerprint == marks[0]


def test_what_cannot_be_on_a_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="graphs needs a CUDA device") as caught:
        engine(Speed(graphs="on"))
    assert caught.value.field == "graphs"
    with pytest.raises(ConfigError, match="fused must be one of auto, on, off, not 'yes'") as caught:
        engine(Speed(fused="yes"))  # type: ignore[arg-type]
    assert caught.value.field == "fused"
    endless = small_preset(WindowSpec(window_frames=None, capacity_frames=12, positions="absolute"))
    with pytest.raises(ConfigError, match="compile needs a window that is bounded") as caught:
        engine(Speed(compile="on", backend="eager"), endless)
    assert caught.value.field == "compile"


def test_the_pass_is_pure_but_for_its_slots() -> None:
    generator = engine(FUSED)
    stream = generator.start(prompts("a red ball"), seed=1)
    make_blocks(generator, stream, 5)
    generator.commit(stream)
    passes, plan = generator.parts.passes, stream.window.plan_block()
    context = passes.prepare(stream.cache, plan, text=stream.text)
    moved = stream.cache.keys_LBNHD.clone()
    noise = torch.randn(1, *generator.parts.block_shape)
    with torch.inference_mode():
        outs = [passes.run(noise, time=generator.parts.times[0], context=context) for _ in range(2)]
    assert torch.equal(*outs)
    own = stream.cache.slot_tokens(plan)
    kept = [token for token in range(moved.shape[2]) if token not in own.tolist()]
    assert torch.equal(stream.cache.keys_LBNHD[:, :, kept], moved[:, :, kept])
