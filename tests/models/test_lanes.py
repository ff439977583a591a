"""Decoding beside the clean pass: the same bits whichever ends first, also where a block is made twice."""

from collections.abc import Callable, Sequence

import pytest
from torch import Tensor

from models.errors import ConfigError, FaultyBlockError
from models.generator import Generator
from models.lanes import Begun, Done, InPlace
from models.load import LoadOptions, build_generator
from models.lossy import Lossy
from models.speed import Speed
from tests.models.engines import Take, make_blocks, prompts, small_preset
from tests.models.test_generator import BLOCKS, SCHEDULES, rest, run


class Aside:
    """What a stream of its own comes to where nothing runs by itself: begun, the other work done, waited for."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self.done = 0

    def run(
        self,
        begin: Callable[[], Begun],
        finish: Callable[[Begun], Done],
        *,
        meanwhile: Callable[[], None],
        reads: Sequence[Tensor],
    ) -> Done:
        self.reads.append(len(reads))
        begun = begin()
        meanwhile()
        self.done += 1
        return finish(begun)


def engine(lane: Aside | None, lossy: Lossy | None = None) -> Generator:
    generator = build_generator(small_preset(), LoadOptions(random_seed=1, lossy=lossy or Lossy()))
    if lane is not None:
        object.__setattr__(generator.parts, "lane", lane)
    return generator


@pytest.mark.parametrize("lossy", [Lossy(), Lossy(reuse_last_pass=True)], ids=["clean pass", "last pass"])
def test_the_same_blocks_and_the_same_restores(lossy: Lossy) -> None:
    lane = Aside()
    plain, aside = engine(None, lossy), engine(lane, lossy)
    take = run(plain, SCHEDULES["mixed"])
    other = run(aside, SCHEDULES["mixed"])
    assert other.hashes == take.hashes
    assert lane.done == BLOCKS
    assert {block.context is None for block in other.blocks} == {not lossy.reuse_last_pass}
    for block in (3, 6, 10):
        assert rest(aside, take, block) == take.hashes[block:]
        assert rest(plain, other, block) == take.hashes[block:]


def test_the_clean_pass_is_not_run_again() -> None:
    generator = engine(Aside())
    stream = generator.start(prompts("a red ball"), seed=1)
    (block,) = make_blocks(generator, stream, 1)
    assert stream.uncommitted is None
    assert block.timings.clean > 0
    assert block.timings.decode >= 0
    before = stream.cache.keys_LBNHD.clone()
    generator.commit(stream)
    assert bool((stream.cache.keys_LBNHD == before).all())
    in_place = engine(None)
    waiting = in_place.start(prompts("a red ball"), seed=1)
    make_blocks(in_place, waiting, 1)
    assert waiting.uncommitted is not None, "on a CPU the clean pass waits until the block is sent"
    in_place.commit(waiting)
    assert bool((waiting.cache.keys_LBNHD == stream.cache.keys_LBNHD).all())


def test_a_faulty_block_leaves_nothing_behind() -> None:
    """The first block makes the sink: a clean pass of a refused attempt must not stay in it."""
    takes = []
    for lane in (None, Aside()):
        generator = engine(lane)
        take = Take(generator.start(prompts("a red ball"), seed=5))
        with pytest.raises(FaultyBlockError):
            generator.step(take.stream, check=lambda *_: "black")
        refusals = iter(["black"])
        made = generator.step(take.stream, check=lambda *_, refusals=refusals: next(refusals, None))
        assert made is not None
        take.blocks += [made, *make_blocks(generator, take.stream, 5)]
        takes.append(take.hashes)
    assert takes[0] == takes[1]


def test_all_that_is_read_is_told() -> None:
    """The latents, and the decoder's memory of the block before."""
    lane = Aside()
    generator = engine(lane)
    stream = generator.start(prompts("a red ball"), seed=1)
    make_blocks(generator, stream, 2)
    assert lane.reads == [1, 1 + len(stream.decoder.memory)]


def test_a_stream_of_its_own_needs_a_gpu() -> None:
    with pytest.raises(ConfigError, match="decode_stream needs a CUDA device") as caught:
        build_generator(small_preset(), LoadOptions(random_seed=1, speed=Speed(decode_stream="on")))
    assert caught.value.field == "decode_stream"
    assert isinstance(engine(None).parts.lane, InPlace)
    marks = [
        build_generator(small_preset(), LoadOptions(random_seed=1, speed=Speed(decode_stream=one))).facts().fingerprint
        for one in ("auto", "off")
    ]
    assert marks[0] == marks[1], "it changes no number"
