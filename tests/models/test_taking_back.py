"""Going back as if blocks had not been made yet, and a block that is made once more because it was faulty."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from models.errors import FaultyBlockError, RestoreError
from models.generator import Generator
from models.journal import AttemptEvent, Journal, TakeEvent, event_to_json, take_at
from models.making import Check
from models.stream import Stream
from models.vae import RGB24, DecoderState
from tests.models.engines import Take, make_blocks, make_generator, prompts, small_decoder

BLOCKS = 9


def directed(generator: Generator) -> Take:
    """Prompts at 2, 4 (over 3 blocks) and 7."""
    take = Take(generator.start(prompts("a red ball"), seed=3))
    for block in range(BLOCKS):
        if block in (2, 4, 7):
            transition = 3 if block == 4 else 0
            generator.set_prompt(
                take.stream, prompts(f"blue sea {block}"), transition_chunks=transition, event_id=f"e{block}"
            )
        take.blocks += make_blocks(generator, take.stream, 1)
    return take


@pytest.mark.parametrize("block", range(BLOCKS + 1))
def test_what_is_taken_back_is_made_again_as_it_was(block: int) -> None:
    generator = make_generator()
    take = directed(generator)
    generator.take_back(take.stream, take.latents, block)
    again = make_blocks(generator, take.stream, BLOCKS - block)
    assert [made.frames_sha256 for made in again] == take.hashes[block:]
    assert [made.started for made in again] == [made.started for made in take.blocks[block:]]
    replayed = generator.restore(take.stream.journal, [], 0)
    assert [made.frames_sha256 for made in make_blocks(generator, replayed, BLOCKS)] == take.hashes


def test_a_copy_spares_the_replay() -> None:
    generator = make_generator()
    take = Take(generator.start(prompts("a red ball"), seed=3))
    take.blocks += make_blocks(generator, take.stream, 4)
    copy = generator.save(take.stream)
    generator.set_prompt(take.stream, prompts("blue sea"), mode="flush")
    take.blocks += make_blocks(generator, take.stream, 3)
    generator.take_back(take.stream, [], 4, snapshot=copy)
    assert [made.frames_sha256 for made in make_blocks(generator, take.stream, 3)] == take.hashes[4:]
    generator.rewind(take.stream, [], 4, take=9, snapshot=copy)
    assert make_blocks(generator, take.stream, 1)[0].take == 9


def test_a_prompt_comes_in_the_place_of_one_that_was_taken_back() -> None:
    generator = make_generator()
    take = directed(generator)
    generator.take_back(take.stream, take.latents, 7)
    change = generator.set_prompt(take.stream, prompts("snow day"), event_id="new")
    assert change.superseded == ("e7",)
    assert make_blocks(generator, take.stream, 1)[0].started == ("new",)


def test_the_same_noise_is_that_of_the_take_a_block_was_last_made_in() -> None:
    generator = make_generator()
    take = Take(generator.start(prompts("a red ball"), seed=3))
    take.blocks += make_blocks(generator, take.stream, 4)
    assert generator.rewind(take.stream, take.latents, 2) == 1
    take.blocks[2:] = make_blocks(generator, take.stream, 2)
    assert [take_at(take.stream.log, block=block) for block in range(4)] == [0, 0, 1, 1]
    assert generator.rewind(take.stream, take.latents, 1, same_noise=True) == 0
    assert make_blocks(generator, take.stream, 1)[0].frames_sha256 == take.hashes[1]


def test_the_agenda_brings_back_what_was_still_to_come() -> None:
    generator = make_generator()
    take = directed(generator)
    generator.take_back(take.stream, take.latents, 3)
    stream = generator.restore(take.stream.agenda, take.latents, 3)
    assert stream.journal.events == take.stream.journal.events
    assert [made.frames_sha256 for made in make_blocks(generator, stream, BLOCKS - 3)] == take.hashes[3:]


def test_a_stream_goes_back_only_to_where_it_was() -> None:
    generator = make_generator()
    take = directed(generator)
    with pytest.raises(RestoreError, match=r"0\.\.9 to go back to"):
        generator.take_back(take.stream, take.latents, BLOCKS + 1)


# Blocks that are faulty.


def faulty_at(stream: Stream, *blocks: int, attempts: int = 1) -> Check:
    seen: list[int] = []

    def check(_latents: Tensor, _frames: RGB24) -> str | None:
        block = stream.next_block
        seen.append(block)
        return "black" if block in blocks and seen.count(block) <= attempts else None

    return check


def make_checked(generator: Generator, stream: Stream, check: Check, count: int) -> list[str]:
    hashes = []
    for _ in range(count):
        block = generator.step(stream, check=check)
        assert block is not None
        hashes.append(block.frames_sha256)
    return hashes


def test_a_faulty_block_is_made_with_other_noise_and_a_replay_makes_that_one() -> None:
    generator = make_generator()
    plain = [block.frames_sha256 for block in make_blocks(generator, generator.start(prompts("sea"), seed=1), 5)]
    stream = generator.start(prompts("sea"), seed=1)
    hashes = make_checked(generator, stream, faulty_at(stream, 2), 5)
    assert hashes[:2] == plain[:2]
    assert set(hashes[2:]).isdisjoint(plain)
    assert stream.journal.events[-1] == AttemptEvent(block=2, attempt=1)
    journal = Journal.from_json(stream.journal.to_json())
    assert journal == stream.journal
    replayed = make_blocks(generator, generator.restore(journal, [], 0), 5)
    assert [block.frames_sha256 for block in replayed] == hashes
    assert [block.attempt for block in replayed] == [0, 0, 1, 0, 0]


def test_a_block_that_is_faulty_twice_leaves_the_stream_where_it_stood() -> None:
    generator = make_generator()
    stream = generator.start(prompts("sea"), seed=1)
    make_blocks(generator, stream, 2)
    with pytest.raises(FaultyBlockError, match="block 2 came out faulty") as raised:
        generator.step(stream, check=faulty_at(stream, 2, attempts=2))
    assert raised.value.code == "guard_black"
    assert (stream.next_block, len(stream.log)) == (2, 1)


class Breaking(torch.nn.Module):
    """A decoder whose pixels are no numbers, so many times from one latent frame of the scene on."""

    def __init__(self, times: int, value: float) -> None:
        super().__init__()
        self.inner = small_decoder()
        self.times, self.value = times, value
        self.receptive_latents = self.inner.receptive_latents

    def frame_count(self, latent_index: int) -> int:
        return self.inner.frame_count(latent_index)

    def start(self) -> DecoderState:
        return self.inner.start()

    def decode(self, latent_CHW: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        pixels, after = self.inner.decode(latent_CHW, state)
        if state.latents == 3 and self.times:
            self.times -= 1
            pixels = pixels.clone()
            pixels[0, 0, 0, 0] = self.value
        return pixels, after


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_made_again_without_being_asked(value: float) -> None:
    generator = make_generator(decoder=Breaking(1, value))
    stream = generator.start(prompts("sea"), seed=1)
    assert [block.attempt for block in make_blocks(generator, stream, 3)] == [0, 1, 0]
    generator = make_generator(decoder=Breaking(2, value))
    stream = generator.start(prompts("sea"), seed=1)
    make_blocks(generator, stream, 1)
    with pytest.raises(FaultyBlockError) as raised:
        generator.step(stream)
    assert raised.value.code == "guard_not_finite"


def test_events_are_written_one_by_one_as_in_the_document() -> None:
    events: Sequence[AttemptEvent | TakeEvent] = (AttemptEvent(block=2, attempt=1), TakeEvent(block=2, take=1))
    write: Callable[[AttemptEvent | TakeEvent], str] = event_to_json
    assert [write(event) for event in events] == [
        '{"type": "attempt", "block": 2, "attempt": 1}',
        '{"type": "take", "block": 2, "take": 1}',
    ]
