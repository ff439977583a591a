"""Streams that begin with a picture or a clip: what is shown of it, what comes after, and that it comes back exactly.

Three decoders: the causal tiny one and Wan's (9 frames in the first block), and the linear one (12 in every block).
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cache.recache import MODES, Mode
from models.errors import OpeningError, RestoreError
from models.generator import Generator
from models.journal import MAX_OPENING_BLOCKS, Journal, OpeningEvent, PromptEvent, TakeEvent
from models.opening import Opening, blocks_filled, frames_of
from models.parts import Parts
from models.picture import read_picture
from models.tiny_decoder import TinyDecoder, TinyDecoderConfig
from models.vae import RGB24, ClipEncoder, DecoderState, LinearCodec, LinearCodecConfig, StreamDecoder, to_rgb24
from tests.models.engines import Take, make_blocks, make_generator, prompts
from tests.models.pictures import noise, png
from tests.models.pieces import fill

DECODERS = ("tiny", "linear")
"""Wan's own is of other latent channels than the small transformer: tests/models/test_wan_vae.py holds the rest."""


def decoder_of(name: str) -> ClipEncoder:
    made: TinyDecoder | LinearCodec
    if name == "linear":
        made = LinearCodec(LinearCodecConfig(channels=4, side=8))
    else:
        made = TinyDecoder(TinyDecoderConfig(4, widths=(6, 5, 4), head_width=4, blocks_per_stage=1, encoder_width=4))
        fill(made, seed=3)
    return made


def engine(name: str = "tiny") -> Generator:
    torch.manual_seed(0)
    return make_generator(decoder=decoder_of(name))


def clip_of(frames: int) -> RGB24:
    return np.stack([noise(16, 16, seed=number) for number in range(frames)])


def first_frames(parts: Parts, latents: tuple[Tensor, ...]) -> RGB24:
    """Plainly decoded, in the dtype in which latents are stored."""
    state: DecoderState = parts.decoder.start()
    pixels = []
    for latent in torch.cat(latents):
        made, state = parts.decoder.decode(latent.to(parts.latent_dtype).float(), state)
        pixels.append(made)
    return to_rgb24(torch.cat(pixels))


def take_of(generator: Generator, opening: Opening, *, blocks: int = 7, mode: Mode = "recache", at: int = 4) -> Take:
    take = Take(generator.start(prompts("a red ball"), seed=5, opening=opening))
    take.blocks += make_blocks(generator, take.stream, at)
    generator.set_prompt(take.stream, prompts("blue sea"), mode=mode, event_id="one")
    take.blocks += make_blocks(generator, take.stream, blocks - at)
    return take


@pytest.mark.parametrize("name", DECODERS)
def test_a_picture_is_the_first_block(name: str) -> None:
    generator = engine(name)
    data = png(noise(16, 16))
    opening = generator.picture_opening(data)
    held = read_picture(data, width=16, height=16)
    frames = 9 if name == "tiny" else 12
    pixels = torch.from_numpy(np.stack([held] * frames)).permute(0, 3, 1, 2) / 255.0
    codec = generator.parts.decoder
    assert isinstance(codec, ClipEncoder)
    assert torch.equal(torch.cat(opening.blocks), codec.encode(pixels).to(torch.float16))
    stream = generator.start(prompts("a red ball"), seed=5, opening=opening)
    first, second = make_blocks(generator, stream, 2)
    assert len(first.frames) == frames
    assert np.array_equal(first.frames, first_frames(generator.parts, opening.blocks))
    assert torch.equal(first.latents, opening.blocks[0])
    assert len(second.frames) == 12
    assert stream.journal.events[1] == OpeningEvent(blocks=1)


@pytest.mark.parametrize("name", DECODERS)
def test_what_comes_after_is_made_from_the_picture_and_the_prompt(name: str) -> None:
    generator = engine(name)
    hashes = {}
    for picture in (1, 2, None):
        for prompt in ("a red ball", "blue sea"):
            opening = None if picture is None else generator.picture_opening(png(noise(16, 16, seed=picture)))
            stream = generator.start(prompts(prompt), seed=5, opening=opening)
            hashes[picture, prompt] = [block.frames_sha256 for block in make_blocks(generator, stream, 3)]
    for number in (1, 2):
        assert len({found[number] for found in hashes.values()}) == 6
    assert hashes[1, "a red ball"][0] == hashes[1, "blue sea"][0], "the picture itself is under no prompt"


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_restored_at_every_block(name: str, blocks: int, mode: Mode) -> None:
    generator = engine(name)
    frames = frames_of(generator.parts.decoder, generator.parts.spec, blocks=blocks)
    take = take_of(generator, generator.clip_opening(clip_of(frames)), mode=mode)
    journal = Journal.from_json(take.journal.to_json())
    for block in range(len(take.blocks)):
        again = generator.restore(journal, take.latents, block)
        made = make_blocks(generator, again, len(take.blocks) - block)
        assert [other.frames_sha256 for other in made] == take.hashes[block:]
        assert again.journal.events == journal.events


def test_restored_by_copy_within_and_after_the_opening() -> None:
    generator = engine()
    opening = generator.clip_opening(clip_of(33))
    stream = generator.start(prompts("a red ball"), seed=5, opening=opening)
    blocks, copies = [], []
    for _ in range(6):
        copies.append(generator.save(stream))
        blocks += make_blocks(generator, stream, 1)
    hashes = [block.frames_sha256 for block in blocks]
    for number, copy in enumerate(copies):
        again = generator.restore(stream.journal, [block.latents for block in blocks], number, snapshot=copy)
        assert [block.frames_sha256 for block in make_blocks(generator, again, 6 - number)] == hashes[number:]


@pytest.mark.parametrize("block", range(6))
def test_every_take_begins_with_the_opening(block: int) -> None:
    generator = engine()
    take = take_of(generator, generator.clip_opening(clip_of(33)))
    generator.rewind(take.stream, take.latents, block)
    assert [event for event in take.journal.events if isinstance(event, OpeningEvent)] == [OpeningEvent(blocks=3)]
    made = make_blocks(generator, take.stream, 7 - block)
    given = max(3 - block, 0)
    same = [block.frames_sha256 == old for block, old in zip(made, take.hashes[block:], strict=True)]
    assert same == [True] * given + [False] * (7 - block - given)
    kept = [*take.latents[:block], *(other.latents for other in made)]
    for number in (0, block, 6):
        again = generator.restore(take.journal, kept, number)
        expected = [*take.hashes[:block], *(other.frames_sha256 for other in made)][number:]
        assert [other.frames_sha256 for other in make_blocks(generator, again, 7 - number)] == expected


def test_a_cut_within_the_opening_ends_it() -> None:
    generator = engine()
    opening = generator.clip_opening(clip_of(33))
    take = take_of(generator, opening, mode="cut", at=1)
    assert torch.equal(take.latents[0], opening.blocks[0])
    assert not torch.equal(take.latents[1], opening.blocks[1])
    assert [block.scene_block for block in take.blocks] == [0, 0, 1, 2, 3, 4, 5]
    # Back before the cut, the rest of the opening is there again; also for a stream that was restored after it.
    restored = generator.restore(take.journal, take.latents, 5, opening=opening.blocks)
    for stream in (take.stream, restored):
        generator.rewind(stream, take.latents, 1)
        made = make_blocks(generator, stream, 3)
        assert [torch.equal(made[n].latents, opening.blocks[n + 1]) for n in range(2)] == [True, True]
        assert made[2].take == 1


def test_a_prompt_within_the_opening_changes_what_comes_after_it() -> None:
    generator = engine()
    opening = generator.clip_opening(clip_of(33))
    changed, plain = take_of(generator, opening, at=1), take_of(generator, opening, at=6)
    assert changed.hashes[:3] == plain.hashes[:3]
    assert changed.hashes[3] != plain.hashes[3]


@pytest.mark.parametrize(
    ("name", "frames", "blocks", "left"),
    [("tiny", 9, 1, 0), ("tiny", 20, 1, 11), ("tiny", 21, 2, 0), ("linear", 12, 1, 0), ("linear", 23, 1, 11)],
)
def test_a_clip_fills_whole_blocks(name: str, frames: int, blocks: int, left: int) -> None:
    generator = engine(name)
    parts = generator.parts
    assert blocks_filled(parts.decoder, parts.spec, frames=frames) == blocks
    assert frames - frames_of(parts.decoder, parts.spec, blocks=blocks) == left
    whole, cut = generator.clip_opening(clip_of(frames)), generator.clip_opening(clip_of(frames - left))
    assert len(whole.blocks) == blocks
    assert all(torch.equal(a, b) for a, b in zip(whole.blocks, cut.blocks, strict=True))
    for block in whole.blocks:
        assert (block.shape, block.dtype, block.device.type) == ((3, 4, 2, 2), torch.float16, "cpu")
        assert block.untyped_storage().nbytes() == block.nbytes


def test_an_opening_is_bounded() -> None:
    decoder, spec = decoder_of("linear"), make_generator().parts.spec
    assert blocks_filled(decoder, spec, frames=10**6) == MAX_OPENING_BLOCKS


@pytest.mark.parametrize(("name", "frames", "least"), [("tiny", 8, 9), ("linear", 11, 12), ("linear", 0, 12)])
def test_a_clip_that_is_too_short_is_refused(name: str, frames: int, least: int) -> None:
    with pytest.raises(OpeningError, match=f"at least {least} frames, which fill one block, not {frames}") as caught:
        engine(name).clip_opening(np.zeros((frames, 16, 16, 3), dtype=np.uint8))
    assert (caught.value.code, caught.value.field) == ("clip_invalid", "clip")


@pytest.mark.parametrize("shape", [(9, 16, 24, 3), (9, 16, 16, 4), (16, 16, 3)])
def test_frames_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(OpeningError, match=r"frames of shape \[T, 16, 16, 3\]"):
        engine().clip_opening(np.zeros(shape, dtype=np.uint8))


class DecodesOnly:
    """A decoder without the other half."""

    def __init__(self, inner: StreamDecoder) -> None:
        self._inner = inner
        self.receptive_latents = inner.receptive_latents
        self.frame_count, self.start, self.decode = inner.frame_count, inner.start, inner.decode


def test_a_decoder_that_cannot_encode_says_so() -> None:
    generator = engine()
    generator = Generator(replace(generator.parts, decoder=DecodesOnly(generator.parts.decoder)))
    with pytest.raises(OpeningError, match="cannot start from a picture or a clip") as caught:
        generator.picture_opening(png(noise(16, 16)))
    assert caught.value.code == "opening_unsupported"


def test_restoring_needs_the_opening() -> None:
    generator = engine()
    take = take_of(generator, generator.clip_opening(clip_of(33)))
    with pytest.raises(RestoreError, match="latents of block 2 are needed and missing"):
        generator.restore(take.journal, take.latents[:2], 1)
    # What has been shown is not needed where it is not felt; the opening alone is a beginning again.
    again = generator.restore(take.journal, take.latents[:3], 0)
    assert [block.frames_sha256 for block in make_blocks(generator, again, 7)] == take.hashes


def test_the_event_in_a_journal() -> None:
    first = PromptEvent(block=0, prompts=prompts("a red ball"))
    journal = Journal(model="small", seed=1, fingerprint="", events=(first, OpeningEvent(blocks=2)))
    assert '{"type": "opening", "blocks": 2, "block": 0}' in journal.to_json()
    assert Journal.from_json(journal.to_json()) == journal
    for wrong in (0, -1, MAX_OPENING_BLOCKS + 1):
        text = journal.to_json().replace('"blocks": 2', f'"blocks": {wrong}')
        with pytest.raises(RestoreError, match=f"1..{MAX_OPENING_BLOCKS} blocks at block 0, not {wrong}"):
            Journal.from_json(text)
    generator = engine()
    misplaced = (first, TakeEvent(block=0, take=1), OpeningEvent(blocks=1))
    with pytest.raises(RestoreError, match="right behind the first prompt"):
        generator.restore(replace(journal, events=misplaced), [], 0)
