"""Ten thousand blocks in bounded memory, and a twin that leaks to show that the measurement would see it.

Each run has a process of its own: in one that has run other tests, memory they gave back would hide a leak.
"""

import gc
import multiprocessing
from collections.abc import Callable

import psutil
import torch

from models.generator import Generator
from models.parts import Parts
from models.stream import Block, Stream
from models.tiny_decoder import TinyDecoder, TinyDecoderConfig
from tests.models.engines import make_generator, prompts, small_preset

EARLY, LATE = 1_000, 10_000
PROMPT_EVERY = 10
GROWTH_ALLOWED = 0.02

Keep = Callable[[Block], None]


class LatentLog:
    """Latents with retention: the first block, which made the sink, and the last `kept`."""

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self.blocks: dict[int, torch.Tensor] = {}

    def keep(self, block: Block) -> None:
        self.blocks[block.index] = block.latents
        stale = block.index - self.kept
        if stale > 0:
            del self.blocks[stale]


def resident_bytes() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def cache_tensors(stream: Stream) -> list[tuple[int, int]]:
    cache, text = stream.cache, stream.text
    tensors = (cache.keys_LBNHD, cache.values_LBNHD, cache.sink_keys_LBTHD, text.keys_LBTHD, text.values_LBTHD)
    return [(tensor.data_ptr(), tensor.nbytes) for tensor in tensors]


def tiny_generator() -> Generator:
    decoder = TinyDecoder(
        TinyDecoderConfig(latent_channels=4, widths=(4,), grow=(4,), head_width=4, blocks_per_stage=1)
    )
    return make_generator(small_preset(layers=1, steps=(1000,)), decoder)


def run_long(generator: Generator, blocks: int, *, early: int, keep: Keep) -> float:
    """Growth of resident memory between block `early` and the last, as a share."""
    stream = generator.start(prompts("a red ball"), seed=1)
    allocated = cache_tensors(stream)
    before = 0
    for number in range(blocks):
        if number % PROMPT_EVERY == PROMPT_EVERY - 1:
            text = ("blue sea", "green forest", "snow day")[number // PROMPT_EVERY % 3]
            generator.set_prompt(stream, prompts(text), event_id=f"event-{number}")
        block = generator.step(stream)
        assert block is not None
        keep(block)
        if number + 1 == early:
            before = resident_bytes()
    assert cache_tensors(stream) == allocated
    assert stream.history.maxlen == 4
    assert len(stream.journal.events) == blocks // PROMPT_EVERY + 1
    return resident_bytes() / before - 1


def retained(parts: Parts) -> int:
    """Blocks that a clean-pass replay may read: what is felt, and the window."""
    return parts.spec.past_blocks * parts.passes.transformer.config.num_layers + 5


def flat_run() -> float:
    generator = tiny_generator()
    log = LatentLog(retained(generator.parts))
    growth = run_long(generator, LATE, early=EARLY, keep=log.keep)
    assert len(log.blocks) == log.kept + 1
    return growth


def leaking_run() -> float:
    """The same, a fifth as long, by a keeper that forgets its retention and holds every block's frames."""
    leaked: list[torch.Tensor] = []

    def leak(block: Block) -> None:
        leaked.append(torch.from_numpy(block.frames).repeat(64, 1, 1, 1))

    return run_long(tiny_generator(), LATE // 5, early=EARLY, keep=leak)


def in_a_process_of_its_own(run: Callable[[], float]) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run)


def test_memory_is_flat_over_ten_thousand_blocks() -> None:
    assert in_a_process_of_its_own(flat_run) < GROWTH_ALLOWED


def test_the_measurement_sees_a_leak() -> None:
    assert in_a_process_of_its_own(leaking_run) > GROWTH_ALLOWED
