"""A stream's values: timings that add up, latents by number, refusals that name the block."""

from collections import deque
from dataclasses import FrozenInstanceError

import pytest
import torch

from cache.window import WindowState
from models.errors import RestoreError
from models.journal import TakeEvent, WeightedPrompt
from models.stream import Block, PromptChange, Stage, StageTimings, Stream, never, read_block
from models.vae import frames_sha256
from tests.models.engines import make_blocks, make_generator, prompts

SHAPE = (3, 4, 2, 2)


def test_time_is_added_to_its_stage() -> None:
    timings = StageTimings()
    for _ in range(2):
        with timings.measure("decode"):
            sum(range(1000))
    once = timings.decode
    assert once > 0
    with timings.measure("decode"):
        sum(range(1000))
    assert timings.decode > once
    assert (timings.text, timings.recache, timings.denoise, timings.clean) == (0, 0, 0, 0)


def test_time_is_counted_also_where_a_stage_fails() -> None:
    timings = StageTimings()
    with pytest.raises(ValueError, match="inside"), timings.measure("text"):
        raise ValueError("inside")
    assert timings.text > 0


@pytest.mark.parametrize("stage", ["text", "recache", "denoise", "clean", "decode"])
def test_every_stage_has_a_timing(stage: Stage) -> None:
    timings = StageTimings()
    with timings.measure(stage):
        pass
    assert [name for name in StageTimings.__slots__ if getattr(timings, name) > 0] == [stage]


def test_blocks_are_read_by_number() -> None:
    latents = [torch.full(SHAPE, float(number)) for number in range(3)]
    assert read_block(latents, 2, shape=SHAPE) == (latents[2], None)
    assert read_block({7: latents[1]}, 7, shape=SHAPE) == (latents[1], None)
    kept = torch.cat((latents[1], latents[2]))
    record = read_block([kept], 0, shape=SHAPE)
    assert record.context is not None
    assert torch.equal(record.latents, latents[1])
    assert torch.equal(record.context, latents[2])


@pytest.mark.parametrize("latents", [[torch.zeros(SHAPE)] * 3, {2: torch.zeros(SHAPE)}])
def test_a_missing_block_is_named(latents: list[torch.Tensor] | dict[int, torch.Tensor]) -> None:
    with pytest.raises(RestoreError, match="latents of block 3 are needed and missing") as caught:
        read_block(latents, 3, shape=SHAPE)
    assert (caught.value.field, caught.value.code) == ("latents", "restore_mismatch")


@pytest.mark.parametrize("found", [(3, 4, 2, 3), (2, 4, 2, 2), (1, 3, 4, 2, 2), (48,)])
def test_a_misshapen_block_is_named(found: tuple[int, ...]) -> None:
    with pytest.raises(RestoreError, match="block 1 must be of shape") as caught:
        read_block([torch.zeros(SHAPE), torch.zeros(found)], 1, shape=SHAPE)
    assert str(SHAPE) in str(caught.value)
    assert str(found) in str(caught.value)


def numbered_stream(blocks: int, held: int) -> Stream:
    """A stream whose latent frames hold their own number in the scene."""
    stream = make_generator().start(prompts("a"), seed=1)
    stream.window = WindowState(stream.window.spec).advance(blocks)
    numbers = torch.arange(3 * blocks).float()[:, None, None, None].expand(-1, *SHAPE[1:])
    stream.history = deque(numbers.split(3)[blocks - held :], maxlen=4)
    return stream


@pytest.mark.parametrize("blocks", [1, 3, 4, 9])
def test_frames_are_found_by_their_number_in_the_scene(blocks: int) -> None:
    held = min(blocks, 4)
    stream = numbered_stream(blocks, held)
    for first in range(3 * (blocks - held), 3 * blocks):
        for count in range(1, 3 * blocks - first + 1):
            found = stream.scene_frames(first, count)
            assert found.shape == (1, count, *SHAPE[1:])
            assert found[0, :, 0, 0, 0].tolist() == list(range(first, first + count))


@pytest.mark.parametrize(("first", "count"), [(14, 1), (26, 2), (27, 1), (15, 13)])
def test_frames_that_are_not_held_are_a_mistake(first: int, count: int) -> None:
    with pytest.raises(AssertionError):
        numbered_stream(9, 4).scene_frames(first, count)


def test_a_streams_journal_is_a_value() -> None:
    generator = make_generator()
    stream = generator.start(prompts("a"), seed=5)
    before = stream.journal
    assert (before.model, before.seed, before.fingerprint) == ("small", 5, "test")
    generator.set_prompt(stream, prompts("red"))
    make_blocks(generator, stream, 1)
    stream.log.append(TakeEvent(block=1, take=1))
    assert len(before.events) == 1
    assert len(stream.journal.events) == 3


def test_a_block_says_where_it_stands() -> None:
    generator = make_generator()
    stream = generator.start(prompts("a"), seed=5)
    first, second = make_blocks(generator, stream, 2)
    assert [(block.index, block.scene_block, block.take, block.attempt) for block in (first, second)] == [
        (0, 0, 0, 0),
        (1, 1, 0, 0),
    ]
    assert first.latents.shape == SHAPE
    assert first.latents.dtype == torch.float16
    assert first.frames_sha256 == frames_sha256(first.frames)
    assert isinstance(first, Block)
    with pytest.raises(FrozenInstanceError):
        first.index = 3  # type: ignore[misc]


def test_a_snapshot_says_what_it_holds() -> None:
    generator = make_generator()
    stream = generator.start(prompts("a"), seed=5)
    empty = generator.save(stream).bytes
    sizes = []
    for _ in range(6):
        make_blocks(generator, stream, 1)
        snapshot = generator.save(stream)
        tensors = (*snapshot.history, *snapshot.decoder.memory)
        assert snapshot.bytes == snapshot.cache.bytes + sum(tensor.nbytes for tensor in tensors)
        sizes.append(snapshot.bytes)
    assert empty < sizes[0] < sizes[3] == sizes[4] == sizes[5], "a copy grows with the window and no further"


def test_who_does_not_interrupt() -> None:
    assert never() is False


def test_a_change_is_a_value() -> None:
    assert PromptChange(3, ("a",)) == PromptChange(3, ("a",))
    assert WeightedPrompt("a") == WeightedPrompt("a", 1.0)
