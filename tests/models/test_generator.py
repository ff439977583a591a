"""A stream's state is a value: restored at any block in any exact way, it goes on bit for bit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest
import torch

from cache.recache import MODES, SINK_POLICIES, Mode
from cache.window import SinkPolicy, WindowSpec
from models.errors import ChangeError, PositionLimitError, PromptError, RestoreError, SeedError
from models.generator import Generator
from models.journal import Journal, TakeEvent, WeightedPrompt
from models.stream import Snapshot
from tests.models.engines import Take, make_blocks, make_generator, prompts, small_preset

BLOCKS = 12


@dataclass(frozen=True, slots=True)
class Switch:
    block: int
    mode: Mode = "recache"
    sink: SinkPolicy = "keep"
    transition: int = 0


SCHEDULES: dict[str, tuple[Switch, ...]] = {
    "recache-keep": (Switch(2), Switch(6), Switch(9)),
    "recache-refresh": (Switch(2, sink="refresh"), Switch(6, sink="refresh"), Switch(9)),
    "keep": (Switch(2, "keep"), Switch(6, "keep"), Switch(9)),
    "flush": (Switch(2, "flush"), Switch(6, "flush"), Switch(9, "flush")),
    "cut": (Switch(2, "cut"), Switch(6), Switch(9, "cut")),
    "blend": (Switch(2, transition=3), Switch(6, transition=2, sink="refresh"), Switch(9, "flush", transition=3)),
    "blend-cut-short": (Switch(2, transition=6), Switch(6, "keep", transition=4), Switch(9, sink="refresh")),
    "mixed": (Switch(1, "flush"), Switch(5, "recache", "refresh"), Switch(6, "flush"), Switch(8), Switch(9, "cut")),
}
WINDOWS = {
    "relative": WindowSpec(),
    "absolute": WindowSpec(positions="absolute"),
    "no-sink": WindowSpec(window_frames=6, sink_frames=0),
    "short-sink": WindowSpec(window_frames=8, sink_frames=1),
    "blocks-of-two": WindowSpec(window_frames=7, sink_frames=2, block_frames=2),
    "everything": WindowSpec(window_frames=None, sink_frames=0, capacity_frames=3 * BLOCKS),
}


def run(generator: Generator, switches: tuple[Switch, ...], *, blocks: int = BLOCKS, seed: int = 7) -> Take:
    take = Take(generator.start(prompts("a red ball"), seed=seed))
    words: Iterator[str] = iter(("blue sea", "green forest at night", "snow day", "city box", "a"))
    for block in range(blocks):
        for switch in switches:
            if switch.block == block:
                generator.set_prompt(
                    take.stream,
                    (WeightedPrompt(next(words), 2.0), WeightedPrompt("ball")),
                    mode=switch.mode,
                    sink=switch.sink,
                    transition_chunks=switch.transition,
                    event_id=f"at-{block}",
                )
        take.blocks += make_blocks(generator, take.stream, 1)
    return take


def rest(generator: Generator, take: Take, block: int, snapshot: Snapshot | None = None) -> list[str]:
    """Hashes of the frames from `block` on, made by a restored stream."""
    stream = generator.restore(take.journal, take.latents, block, snapshot=snapshot)
    made = make_blocks(generator, stream, len(take.blocks) - block)
    assert stream.journal.events == take.journal.events
    return [item.frames_sha256 for item in made]


@pytest.mark.parametrize("name", SCHEDULES)
def test_restored_by_replay_at_every_block(name: str) -> None:
    generator = make_generator()
    take = run(generator, SCHEDULES[name])
    assert len(set(take.hashes)) == BLOCKS
    for block in range(BLOCKS + 1):
        assert rest(generator, take, block) == take.hashes[block:], f"restored at block {block}"


@pytest.mark.parametrize("name", WINDOWS)
def test_restored_by_replay_in_every_window(name: str) -> None:
    generator = make_generator(small_preset(WINDOWS[name]))
    take = run(generator, SCHEDULES["mixed"])
    for block in range(BLOCKS + 1):
        assert rest(generator, take, block) == take.hashes[block:], f"restored at block {block}"


@pytest.mark.parametrize("name", SCHEDULES)
def test_restored_by_copy_at_every_block(name: str) -> None:
    generator = make_generator()
    whole = run(generator, SCHEDULES[name])
    copying = generator.restore(whole.journal, whole.latents, 0)
    for block in range(BLOCKS):
        snapshot = generator.save(copying)
        assert snapshot.bytes > 0
        assert rest(generator, whole, block, snapshot) == whole.hashes[block:], f"restored at block {block}"
        make_blocks(generator, copying, 1)


def test_replay_reads_only_what_is_felt() -> None:
    """With the sink's block, the last 2 x layers blocks and the window at hand, older latents are not needed."""
    generator = make_generator(small_preset(layers=2))
    take = run(generator, (), blocks=20)
    kept = dict(enumerate(take.latents))
    for block in range(1, 15):
        del kept[block]
    stream = generator.restore(take.journal, kept, 19)
    assert make_blocks(generator, stream, 1)[0].frames_sha256 == take.hashes[19]
    del kept[15]
    with pytest.raises(RestoreError, match="block 15"):
        generator.restore(take.journal, kept, 19)


def test_streams_beside_each_other_do_not_touch_each_other() -> None:
    generator = make_generator()
    takes = [run(generator, schedule, seed=seed) for seed, schedule in enumerate(list(SCHEDULES.values())[:4])]
    streams = [generator.restore(take.journal, take.latents, 0) for take in takes]
    hashes: list[list[str]] = [[] for _ in takes]
    for _ in range(BLOCKS):
        for own, stream in zip(hashes, streams, strict=True):
            own += [block.frames_sha256 for block in make_blocks(generator, stream, 1)]
    assert hashes == [take.hashes for take in takes]
    # Restored in the middle while the others go on, too.
    restored = generator.restore(takes[0].journal, takes[0].latents, 5)
    make_blocks(generator, streams[1], 1)
    assert [block.frames_sha256 for block in make_blocks(generator, restored, 7)] == takes[0].hashes[5:]


@pytest.mark.parametrize("block", [0, 1, 7])
def test_rewind_begins_another_take(block: int) -> None:
    generator = make_generator()
    take = run(generator, SCHEDULES["mixed"])
    stream = take.stream
    generator.rewind(stream, take.latents, block)
    again = make_blocks(generator, stream, BLOCKS - block)
    assert [item.index for item in again] == list(range(block, BLOCKS))
    assert {item.take for item in again} == {1}
    expected_first = 9 if block == 0 else 12
    assert [item.frames.shape[0] for item in again] == [expected_first] + [12] * (BLOCKS - block - 1)
    assert not {item.frames_sha256 for item in again} & set(take.hashes)
    # The rewound take is itself a value.
    latents = take.latents[:block] + [item.latents for item in again]
    replayed = generator.restore(Journal.from_json(stream.journal.to_json()), latents, 0)
    assert [item.frames_sha256 for item in make_blocks(generator, replayed, BLOCKS)] == [
        *take.hashes[:block],
        *(item.frames_sha256 for item in again),
    ]


def test_rewind_with_the_same_noise_makes_the_same_frames() -> None:
    generator = make_generator()
    take = run(generator, SCHEDULES["recache-keep"][:1])
    generator.rewind(take.stream, take.latents, 4, same_noise=True)
    assert [item.frames_sha256 for item in make_blocks(generator, take.stream, BLOCKS - 4)] == take.hashes[4:]


def test_takes_are_numbered_through_rewinds_of_rewinds() -> None:
    generator = make_generator()
    take = run(generator, (), blocks=6)
    for expected, block in ((1, 4), (2, 2), (3, 2)):
        generator.rewind(take.stream, take.latents, block)
        made = make_blocks(generator, take.stream, 1)[0]
        assert (made.take, made.index) == (expected, block)
        take.blocks[block:] = [made]
    assert [event for event in take.journal.events if isinstance(event, TakeEvent)] == [
        TakeEvent(block=4, take=1),
        TakeEvent(block=2, take=2),
        TakeEvent(block=2, take=3),
    ]


def test_a_cut_begins_a_new_scene() -> None:
    generator = make_generator()
    take = run(generator, (Switch(4, "cut"),), blocks=8)
    assert [block.frames.shape[0] for block in take.blocks] == [9, 12, 12, 12, 9, 12, 12, 12]
    assert [block.scene_block for block in take.blocks] == [0, 1, 2, 3, 0, 1, 2, 3]


@pytest.mark.parametrize("passes_before", [0, 1])
def test_an_interrupted_block_leaves_nothing_behind(passes_before: int) -> None:
    generator = make_generator()
    take = run(generator, SCHEDULES["mixed"])
    stream = generator.restore(take.journal, take.latents, 0)
    hashes = []
    for _ in range(BLOCKS):
        asked = count()
        assert generator.step(stream, interrupted=lambda asked=asked: next(asked) == passes_before) is None  # type: ignore[misc]
        hashes += [block.frames_sha256 for block in make_blocks(generator, stream, 1)]
    assert hashes == take.hashes


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
def test_a_prompt_that_interrupts_another_is_replayed_exactly(first: Mode, second: Mode) -> None:
    """The first had its effect on the past already when the second came; the journal holds both."""
    generator = make_generator()
    take = run(generator, (), blocks=6)
    stream = take.stream
    generator.set_prompt(stream, prompts("blue sea"), mode=first, sink="refresh", event_id="one")
    assert generator.step(stream, interrupted=lambda: True) is None
    change = generator.set_prompt(stream, prompts("snow"), mode=second, event_id="two")
    assert (change.block, change.superseded) == (6, ("one",))
    take.blocks += make_blocks(generator, stream, 5)
    assert take.blocks[6].started == take.blocks[6].completed == ("two",)
    for block in range(len(take.blocks)):
        assert rest(generator, take, block) == take.hashes[block:], f"restored at block {block}"


def test_changes_say_when_they_start_and_when_they_are_complete() -> None:
    generator = make_generator()
    take = run(generator, (Switch(2, transition=3), Switch(7)), blocks=9)
    assert {block.index: block.started for block in take.blocks if block.started} == {2: ("at-2",), 7: ("at-7",)}
    assert {block.index: block.completed for block in take.blocks if block.completed} == {4: ("at-2",), 7: ("at-7",)}


def test_a_newer_change_supersedes_one_that_waits() -> None:
    generator = make_generator()
    stream = generator.start(prompts("a"), seed=1)
    make_blocks(generator, stream, 1)
    assert generator.set_prompt(stream, prompts("red"), event_id="one").superseded == ()
    assert generator.set_prompt(stream, prompts("blue"), event_id="two").superseded == ("one",)
    assert make_blocks(generator, stream, 1)[0].started == ("two",)
    assert len(stream.journal.events) == 2


def test_when_the_clean_pass_runs_changes_nothing() -> None:
    generator = make_generator()
    take = run(generator, SCHEDULES["mixed"])
    stream = generator.restore(take.journal, take.latents, 0)
    hashes = []
    for _ in range(BLOCKS):
        hashes += [block.frames_sha256 for block in make_blocks(generator, stream, 1)]
        generator.commit(stream)
    assert hashes == take.hashes


def test_every_pass_is_told_with_the_block_it_was_run_for() -> None:
    """The clean pass with the next block; a recache with its block, also if that was interrupted after it."""
    generator = make_generator()
    stream = generator.start(prompts("a"), seed=1)
    blocks = make_blocks(generator, stream, 1)
    generator.commit(stream)
    blocks += make_blocks(generator, stream, 1)
    generator.set_prompt(stream, prompts("blue sea"))
    assert generator.step(stream, interrupted=lambda: True) is None
    blocks += make_blocks(generator, stream, 2)
    assert [block.timings.clean > 0 for block in blocks] == [False, True, False, True]
    assert [block.timings.recache > 0 for block in blocks] == [False, False, True, False]


def test_the_prompt_the_seed_and_the_take_are_felt() -> None:
    generator = make_generator()
    base = run(generator, (), blocks=2, seed=1).hashes
    assert run(generator, (), blocks=2, seed=1).hashes == base
    assert not set(run(generator, (), blocks=2, seed=2).hashes) & set(base)
    other = generator.start(prompts("blue sea"), seed=1)
    assert not {block.frames_sha256 for block in make_blocks(generator, other, 2)} & set(base)


def test_edm_prediction_is_restored_exactly() -> None:
    generator = make_generator(small_preset(prediction="edm_x0"))
    take = run(generator, SCHEDULES["mixed"])
    for block in (0, 3, 7, 11):
        assert rest(generator, take, block) == take.hashes[block:]


def test_absolute_positions_end() -> None:
    spec = WindowSpec(window_frames=600, sink_frames=300, block_frames=300, positions="absolute")
    generator = make_generator(small_preset(spec, layers=1, steps=(1000,)))
    stream = generator.start(prompts("a"), seed=1)
    make_blocks(generator, stream, 3)
    with pytest.raises(PositionLimitError, match="1023"):
        generator.step(stream)
    generator.set_prompt(stream, prompts("red"), mode="cut")
    assert make_blocks(generator, stream, 1)[0].scene_block == 0


def test_bad_input_is_refused_and_the_stream_goes_on() -> None:
    generator = make_generator()
    take = run(generator, (), blocks=2)
    stream = generator.restore(take.journal, take.latents, 1)
    for bad, error, field in (
        (prompts(" \n"), PromptError, "prompt"),
        (prompts("x" * 2001), PromptError, "prompt"),
        ((), PromptError, "prompts"),
        ((WeightedPrompt("a", float("nan")),), PromptError, "weight"),
        ((WeightedPrompt("a", -1.0),), PromptError, "weight"),
    ):
        with pytest.raises(error) as caught:
            generator.set_prompt(stream, bad)
        assert caught.value.field == field
    for mode, sink, transition, field in (
        ("nothing", "keep", 0, "mode"),
        ("recache", "nothing", 0, "sink"),
        ("recache", "keep", -1, "transition_chunks"),
        ("recache", "keep", 65, "transition_chunks"),
        ("cut", "keep", 1, "transition_chunks"),
    ):
        with pytest.raises(ChangeError) as refused:
            generator.set_prompt(stream, prompts("a"), mode=mode, sink=sink, transition_chunks=transition)  # type: ignore[arg-type]
        assert refused.value.field == field
    for seed in (-1, 2**63):
        with pytest.raises(SeedError):
            generator.start(prompts("a"), seed=seed)
    assert make_blocks(generator, stream, 1)[0].frames_sha256 == take.hashes[1]


def test_restore_refuses_what_does_not_belong_together() -> None:
    generator = make_generator()
    take = run(generator, SCHEDULES["recache-keep"])
    snapshot = generator.save(take.stream)
    with pytest.raises(RestoreError, match="copy is of block 12"):
        generator.restore(take.journal, take.latents, 11, snapshot=snapshot)
    other = Journal(model="other", seed=1, fingerprint="", events=take.journal.events)
    with pytest.raises(RestoreError, match="model 'other'"):
        generator.restore(other, take.latents, 3)
    with pytest.raises(RestoreError, match="latents of block 3 must be of shape"):
        generator.restore(take.journal, [*take.latents[:3], torch.zeros(3, 4, 2, 3), *take.latents[4:]], 4)
    with pytest.raises(RestoreError, match="block must be 0 or more"):
        generator.restore(take.journal, take.latents, -1)
    with pytest.raises(RestoreError, match="go back"):
        generator.rewind(take.stream, take.latents, 13)


def test_a_closed_stream_is_not_used() -> None:
    generator = make_generator()
    stream = generator.start(prompts("a"), seed=1)
    generator.close(stream)
    with pytest.raises(AssertionError, match="closed"):
        generator.step(stream)


def test_all_sink_policies_are_tested() -> None:
    used = {switch.sink for schedule in SCHEDULES.values() for switch in schedule}
    assert used == set(SINK_POLICIES)
    assert {switch.mode for schedule in SCHEDULES.values() for switch in schedule} == set(MODES)
