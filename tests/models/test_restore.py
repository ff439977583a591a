"""Standing at a block: what is read, what is run, and what is refused. Frames that come out equal: test_generator."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from cache.recache import MODES, Mode
from cache.replay import plan_replay
from models.errors import RestoreError
from models.generator import Generator
from models.journal import Event, Journal, PromptEvent, TakeEvent, changes
from models.prompts import embedding_at
from models.restore import put_text, stand_at
from models.stream import Stream
from tests.models.engines import Take, make_blocks, make_generator, prompts, small_preset


class Shelf:
    """Latents that write down which blocks are asked for."""

    def __init__(self, latents: Sequence[Tensor]) -> None:
        self._latents = latents
        self.asked: list[int] = []

    def __getitem__(self, block: int) -> Tensor:
        self.asked.append(block)
        return self._latents[block]


def take_of(generator: Generator, blocks: int, *, transition: int = 0, at: int = 2) -> Take:
    take = Take(generator.start(prompts("a red ball"), seed=3))
    take.blocks += make_blocks(generator, take.stream, at)
    generator.set_prompt(take.stream, prompts("blue sea"), transition_chunks=transition, event_id="one")
    take.blocks += make_blocks(generator, take.stream, blocks - at)
    return take


def bare(generator: Generator, events: Sequence[Event], seed: int = 3) -> Stream:
    journal = Journal(model="small", seed=seed, fingerprint="", events=tuple(events))
    return generator.restore(journal, [], 0)


def test_only_the_blocks_that_are_felt_are_read() -> None:
    generator = make_generator(small_preset(layers=2))
    take = take_of(generator, 20)
    shelf = Shelf(take.latents)
    generator.restore(take.journal, shelf, 18)
    # The sink is of the recache before block 2: it and the last 2 x 2 blocks.
    assert set(shelf.asked) == {0, 1, 14, 15, 16, 17}


def test_a_copy_needs_no_latents() -> None:
    generator = make_generator()
    take = take_of(generator, 6)
    shelf = Shelf([])
    generator.restore(take.journal, shelf, 6, snapshot=generator.save(take.stream))
    assert shelf.asked == []


def test_a_copy_may_be_taken_again_and_used_twice() -> None:
    generator = make_generator()
    take = take_of(generator, 6)
    snapshot = generator.save(take.stream)
    hashes = []
    for _ in range(2):
        stream = generator.restore(take.journal, [], 6, snapshot=snapshot)
        hashes.append([block.frames_sha256 for block in make_blocks(generator, stream, 5)])
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 5


@pytest.mark.parametrize("block", range(8))
def test_the_counters_stand_where_the_live_stream_stood(block: int) -> None:
    generator = make_generator()
    take = take_of(generator, 8, transition=4)
    live = generator.start(prompts("a red ball"), seed=3)
    make_blocks(generator, live, min(block, 2))
    if block > 2:
        generator.set_prompt(live, prompts("blue sea"), transition_chunks=4, event_id="one")
        make_blocks(generator, live, block - 2)
    generator.commit(live)
    restored = generator.restore(take.journal, take.latents, block)
    for name in ("next_block", "scene_start", "take", "window", "blending", "events", "log", "uncommitted", "reached"):
        assert getattr(restored, name) == getattr(live, name), name
    assert [event.block for event in restored.future] == ([2] if block <= 2 else [])
    assert restored.decoder.latents == live.decoder.latents == 3 * block
    assert len(restored.history) == len(live.history) == min(block, 4)
    for mine, theirs in zip(restored.history, live.history, strict=True):
        assert torch.equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    assert restored.embedding is not None
    assert live.embedding is not None
    assert torch.equal(restored.embedding, live.embedding)
    assert torch.equal(restored.text.keys_LBTHD, live.text.keys_LBTHD)


def test_events_to_come_take_effect_as_they_did_and_only_then_are_in_the_journal() -> None:
    generator = make_generator()
    take = take_of(generator, 6, at=3)
    stream = generator.restore(take.journal, take.latents, 1)
    lengths = []
    for _ in range(5):
        lengths.append(len(stream.journal.events))
        make_blocks(generator, stream, 1)
    assert lengths == [1, 1, 1, 2, 2]
    assert stream.journal.events == take.journal.events


def test_the_take_is_that_of_the_last_rewind_before_the_block() -> None:
    generator = make_generator()
    take = take_of(generator, 6)
    generator.rewind(take.stream, take.latents, 3)
    take.blocks[3:] = make_blocks(generator, take.stream, 3)
    takes = [generator.restore(take.journal, take.latents, block).take for block in range(6)]
    assert takes == [0, 0, 0, 1, 1, 1]


def test_passes_run_are_those_planned() -> None:
    generator = make_generator(small_preset(layers=2))
    take = take_of(generator, 9)
    parts = generator.parts
    shapes: list[int] = []
    parts.passes.transformer.register_forward_pre_hook(lambda module, arguments: shapes.append(arguments[0].shape[1]))
    generator.restore(take.journal, take.latents, 8)
    plan = plan_replay(parts.spec, layers=2, changes=changes(take.journal.events, before=8), block=8)
    assert shapes == [item.plan.frames for item in plan.passes]


def test_text_is_embedded_only_when_it_changes() -> None:
    generator = make_generator()
    stream = generator.start(prompts("a red ball"), seed=3)
    events = [PromptEvent(block=0, prompts=prompts("a red ball")), PromptEvent(block=2, prompts=prompts("blue sea"))]
    calls: list[int] = []
    parts = generator.parts
    parts.passes.transformer.text_embedding.register_forward_pre_hook(lambda module, arguments: calls.append(1))
    place = stream.text.keys_LBTHD.data_ptr()
    for block, expected in ((0, 0), (1, 0), (2, 1), (3, 1), (1, 2)):
        put_text(parts, stream, events=events, block=block)
        assert len(calls) == expected
        embedding = embedding_at(parts.encode, events, block=block)
        assert torch.equal(stream.text.keys_LBTHD, parts.passes.transformer.embed_text(embedding[None]).keys_LBTHD)
        calls[expected:] = []
    assert stream.text.keys_LBTHD.data_ptr() == place


# Refusals


@pytest.mark.parametrize("block", [-1, -100])
def test_a_block_before_the_first_is_refused(block: int) -> None:
    generator = make_generator()
    with pytest.raises(RestoreError, match=f"block must be 0 or more, not {block}") as caught:
        stand_at(generator.parts, generator.start(prompts("a"), seed=1), latents=[], block=block)
    assert caught.value.field == "block"


@pytest.mark.parametrize("missing", [0, 5, 7])
def test_a_missing_block_is_named(missing: int) -> None:
    generator = make_generator()
    take = take_of(generator, 8)
    held = {number: latents for number, latents in enumerate(take.latents) if number != missing}
    with pytest.raises(RestoreError, match=f"latents of block {missing} are needed") as caught:
        generator.restore(take.journal, held, 8)
    assert (caught.value.field, caught.value.code) == ("latents", "restore_mismatch")


def test_a_copy_of_another_stream_is_refused() -> None:
    generator = make_generator()
    take = take_of(generator, 4)
    snapshot = generator.save(take.stream)
    first, second = take.journal.events
    other = PromptEvent(block=2, prompts=prompts("snow"))
    cases: tuple[tuple[tuple[Event, ...], int, int, str], ...] = (
        ((first, second), 4, 4, "block 4, seed 3 and 2 events; asked for is block 4, seed 4 and 2 events"),
        ((first, second), 3, 3, "copy is of block 4.* asked for is block 3"),
        ((first,), 3, 4, "2 events; asked for is block 4, seed 3 and 1 events, of another course"),
        ((first, other), 3, 4, "of another course"),
        ((first, second, PromptEvent(block=3, prompts=prompts("snow"))), 3, 4, "asked for .* and 3 events"),
        ((first, second, TakeEvent(block=3, take=1)), 3, 4, "of another course"),
    )
    for events, seed, block, message in cases:
        journal = Journal(model="small", seed=seed, fingerprint="", events=events)
        with pytest.raises(RestoreError, match=message) as caught:
            generator.restore(journal, [], block, snapshot=snapshot)
        assert caught.value.field == "snapshot"
    # What is still to come does not matter, nor does a take that begins where the copy was made.
    for later in (PromptEvent(block=4, prompts=prompts("snow")), TakeEvent(block=4, take=1)):
        journal = Journal(model="small", seed=3, fingerprint="", events=(first, second, later))
        assert generator.restore(journal, [], 4, snapshot=snapshot).next_block == 4


def test_a_copy_of_another_take_is_refused() -> None:
    """Block, seed and prompts are the same; the pictures are not."""
    generator = make_generator()
    take = take_of(generator, 6)
    before = generator.save(take.stream)
    generator.rewind(take.stream, take.latents, 4)
    take.blocks[4:] = make_blocks(generator, take.stream, 2)
    after = generator.save(take.stream)
    with pytest.raises(RestoreError, match="another course"):
        generator.restore(take.journal, take.latents, 6, snapshot=before)
    by_copy = generator.restore(take.journal, take.latents, 6, snapshot=after)
    by_replay = generator.restore(take.journal, take.latents, 6)
    assert [block.frames_sha256 for block in make_blocks(generator, by_copy, 2)] == [
        block.frames_sha256 for block in make_blocks(generator, by_replay, 2)
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_made_after_an_interruption_knows_its_prompt(mode: Mode) -> None:
    """The prompt's effect on the past is in the copy already: for its own journal exact, for another refused."""
    generator = make_generator()
    take = take_of(generator, 6)
    generator.set_prompt(take.stream, prompts("snow"), mode=mode, sink="refresh")
    assert generator.step(take.stream, interrupted=lambda: True) is None
    snapshot = generator.save(take.stream)
    journal = take.journal
    live = [block.frames_sha256 for block in make_blocks(generator, take.stream, 4)]
    restored = generator.restore(journal, [], 6, snapshot=snapshot)
    assert [block.frames_sha256 for block in make_blocks(generator, restored, 4)] == live
    without = Journal(model="small", seed=3, fingerprint="", events=journal.events[:-1])
    with pytest.raises(RestoreError, match="another course"):
        generator.restore(without, [], 6, snapshot=snapshot)


@pytest.mark.parametrize("events", [(), (TakeEvent(block=0, take=1),), (PromptEvent(block=3, prompts=prompts("a")),)])
def test_a_journal_that_does_not_begin_is_refused(events: tuple[Event, ...]) -> None:
    with pytest.raises(RestoreError, match="begin with a prompt at block 0") as caught:
        bare(make_generator(), events)
    assert caught.value.field == "events"
