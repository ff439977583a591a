"""Each near-lossless option keeps a stream a value: restored, replayed, interleaved and taken back bit for bit."""

from itertools import count

import pytest
import torch

from cache.window import WindowSpec
from models.errors import ConfigError, FaultyBlockError
from models.generator import Generator
from models.load import LoadOptions, build_generator
from models.lossy import Lossy
from models.speed import Speed
from models.stream import Snapshot
from tests.models.engines import Take, make_blocks, prompts, small_preset
from tests.models.test_generator import BLOCKS, SCHEDULES, run

ALL = Lossy(reuse_last_pass=True, kv_cache="int8", short_heads=1, short_window=6, stagger=0.5)
OPTIONS: dict[str, Lossy] = {
    "two steps": Lossy(steps=(1000, 400)),
    "window": Lossy(window_frames=9),
    "last pass": Lossy(reuse_last_pass=True),
    "last pass, one step": Lossy(reuse_last_pass=True, steps=(1000,)),
    "int8": Lossy(kv_cache="int8"),
    "short heads": Lossy(short_heads=1, short_window=6),
    "stagger": Lossy(stagger=0.5),
    "all": ALL,
}
PATHS: dict[str, Speed] = {
    "plain": Speed(),
    "fused": Speed(fused="on", channels_last="on"),
    "traced": Speed(fused="on", compile="on", backend="eager"),
}
every_option = pytest.mark.parametrize("lossy", OPTIONS.values(), ids=OPTIONS)


def engine(lossy: Lossy, speed: Speed | None = None, *, window: WindowSpec | None = None) -> Generator:
    options = LoadOptions(random_seed=1, lossy=lossy, speed=speed or Speed())
    return build_generator(small_preset(window), options)


def goes_on(generator: Generator, take: Take, block: int, snapshot: Snapshot | None = None) -> bool:
    """Whether a stream that is restored at a block makes the next two as they were made."""
    stream = generator.restore(take.journal, take.latents, block, snapshot=snapshot)
    made = make_blocks(generator, stream, min(2, len(take.blocks) - block))
    return [item.frames_sha256 for item in made] == take.hashes[block : block + 2]


@every_option
def test_restored_at_every_block_by_an_engine_that_was_loaded_anew(lossy: Lossy) -> None:
    """By replay and by copy, after every kind of prompt change: what a restart of the worker does."""
    first, again = engine(lossy), engine(lossy)
    take = run(first, SCHEDULES["mixed"])
    assert len(set(take.hashes)) == BLOCKS
    assert again.facts().fingerprint == first.facts().fingerprint
    copying = first.restore(take.journal, take.latents, 0)
    for block in range(BLOCKS):
        copy = first.save(copying)
        assert block not in (4, 7, 10) or goes_on(again, take, block, copy), f"by copy at block {block}"
        assert goes_on(again, take, block), f"by replay at block {block}"
        make_blocks(first, copying, 1)


@pytest.mark.parametrize("name", ["recache-refresh", "blend", "cut"])
def test_restored_after_every_change_with_all_options_at_once(name: str) -> None:
    generator = engine(ALL)
    take = run(generator, SCHEDULES[name])
    for block in range(2, BLOCKS):
        assert goes_on(generator, take, block), f"restored at block {block}"


@pytest.mark.parametrize(
    "window",
    [
        WindowSpec(positions="absolute"),
        WindowSpec(window_frames=8, sink_frames=1),
        WindowSpec(window_frames=7, sink_frames=2, block_frames=2),
        WindowSpec(window_frames=9, sink_frames=0),
    ],
    ids=lambda spec: f"{spec.positions} {spec.window_frames}-{spec.sink_frames}",
)
def test_restored_in_every_window(window: WindowSpec) -> None:
    generator = engine(Lossy(reuse_last_pass=True, kv_cache="int8", short_heads=1, stagger=0.5), window=window)
    take = run(generator, SCHEDULES["mixed"])
    for block in range(2, BLOCKS, 2):
        assert goes_on(generator, take, block), f"restored at block {block}"


@pytest.mark.parametrize("speed", [PATHS["fused"], PATHS["traced"]], ids=["fused", "traced"])
def test_restored_on_the_fast_paths(speed: Speed) -> None:
    first, again = engine(ALL, speed), engine(ALL, speed)
    take = run(first, SCHEDULES["mixed"])
    for block in (3, 5, 8, 10):
        assert goes_on(again, take, block), f"restored at block {block}"


@every_option
def test_streams_in_between_do_not_show(lossy: Lossy) -> None:
    generator = engine(lossy)
    takes = [run(generator, SCHEDULES[name], blocks=6, seed=seed) for seed, name in enumerate(("mixed", "keep"))]
    streams = [generator.restore(take.journal, take.latents, 0) for take in takes]
    hashes: list[list[str]] = [[], []]
    for _ in range(6):
        for own, stream in zip(hashes, streams, strict=True):
            own += [block.frames_sha256 for block in make_blocks(generator, stream, 1)]
    assert hashes == [take.hashes for take in takes]


@every_option
def test_going_back_and_interrupting_leave_nothing_behind(lossy: Lossy) -> None:
    generator = engine(lossy)
    take = run(generator, SCHEDULES["mixed"])
    kept = take.latents
    generator.take_back(take.stream, kept, 7)
    again = []
    for _ in range(7, 10):
        asked = count()
        last = len(generator.parts.times) - 1
        assert generator.step(take.stream, interrupted=lambda asked=asked, last=last: next(asked) == last) is None  # type: ignore[misc]
        again += [block.frames_sha256 for block in make_blocks(generator, take.stream, 1)]
    assert again == take.hashes[7:10]
    generator.rewind(take.stream, kept, 4)
    other = make_blocks(generator, take.stream, 3)
    assert not {block.frames_sha256 for block in other} & set(take.hashes)


@every_option
def test_a_block_that_was_made_twice_is_restored_as_it_stands(lossy: Lossy) -> None:
    generator = engine(lossy)
    take = Take(generator.start(prompts("a red ball"), seed=7))
    refusals = iter(["black"])
    take.blocks += make_blocks(generator, take.stream, 4)
    made = generator.step(take.stream, check=lambda *_: next(refusals, None))
    assert made is not None
    assert made.attempt == 1
    take.blocks += [made, *make_blocks(generator, take.stream, 3)]
    for block in (4, 5, 7):
        assert goes_on(generator, take, block), f"restored at block {block}"
    with pytest.raises(FaultyBlockError):
        generator.step(take.stream, check=lambda *_: "black")


def test_each_option_is_a_fingerprint_of_its_own_and_changes_what_is_made() -> None:
    """Seen in the last latents: what eight bits change of a small model can be less than a level of a pixel."""
    made: dict[str, bytes] = {}
    for lossy in (Lossy(), *OPTIONS.values()):
        generator = engine(lossy)
        last = run(generator, (), blocks=6).blocks[-1].latents
        made[generator.facts().fingerprint] = last.numpy().tobytes()
    assert len(made) == len(set(made.values())) == 1 + len(OPTIONS)


@pytest.mark.parametrize("speed", [PATHS["fused"], PATHS["traced"]], ids=["fused", "traced"])
@every_option
def test_the_fast_paths_make_what_the_plain_one_makes(lossy: Lossy, speed: Speed) -> None:
    """The first denoising pass of a block over a full window, whose past the same plain engine made."""
    plain, fast = engine(lossy), engine(lossy, speed)
    outs = []
    for generator in (plain, fast):
        stream = generator.start(prompts("a red ball"), seed=3)
        make_blocks(generator, stream, 1)
        generator.commit(stream)
        passes, plan = generator.parts.passes, stream.window.plan_block()
        noise = torch.randn(1, *generator.parts.block_shape, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            context = passes.prepare(stream.cache, plan, text=stream.text)
            outs.append(passes.run(noise, time=generator.parts.times[0], context=context))
    # A number that rounds to another step of eight bits is a 255th of the largest away.
    limit = 2e-2 if lossy.kv_cache == "int8" else 1e-4
    assert (outs[0] - outs[1]).abs().max() <= limit * outs[0].abs().max()


def test_a_block_keeps_what_its_last_pass_was_given() -> None:
    generator = engine(Lossy(reuse_last_pass=True))
    stream = generator.start(prompts("a red ball"), seed=7)
    (block,) = make_blocks(generator, stream, 1)
    frames = generator.parts.spec.block_frames
    assert block.kept.shape[0] == 2 * frames
    assert torch.equal(block.kept[:frames], block.latents)
    assert stream.uncommitted is None
    assert make_blocks(generator, stream, 1)[0].timings.clean == 0


def test_a_take_that_was_made_with_clean_passes_goes_on_without() -> None:
    """And the other way round: each block is rebuilt by the pass that it was made with, where the engine knows it."""
    clean, reusing = engine(Lossy()), engine(Lossy(reuse_last_pass=True))
    take = run(clean, (), blocks=5)
    stream = reusing.restore(take.journal, take.latents, 5)
    later = make_blocks(reusing, stream, 3)
    mixed = [*take.latents, *(block.kept for block in later)]
    again = reusing.restore(stream.journal, mixed, 7)
    assert make_blocks(reusing, again, 1)[0].frames_sha256 == later[2].frames_sha256
    assert len(make_blocks(clean, clean.restore(stream.journal, mixed, 8), 1)) == 1


@pytest.mark.parametrize(
    ("lossy", "field", "message"),
    [
        (Lossy(kv_cache="int4"), "kv_cache", "kv_cache must be one of full, int8, not 'int4'"),  # type: ignore[arg-type]
        (Lossy(short_heads=2), "short_heads", "short_heads must be 0 to 1 of the 2 heads, not 2"),
        (Lossy(short_heads=1, short_window=5), "short_window", "short_window must be 6 .* to 12, not 5"),
        (Lossy(stagger=1.0), "stagger", "stagger must be at least 0 and less than 1, not 1.0"),
        (Lossy(window_frames=3), "window_frames", "window_frames must be at least sink"),
    ],
)
def test_what_cannot_be_is_refused(lossy: Lossy, field: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        engine(lossy)
    assert caught.value.field == field
