"""The engine on a GPU: the published numbers, restoring bit for bit, copies by way of host memory. `-m gpu`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cache.recache import MODES, SINK_POLICIES
from models.generator import Generator
from models.load import LoadOptions, build_generator
from models.presets import DtypeName
from models.reference import list_cases, read_case, run_case
from tests.models.engines import Take, make_blocks, prompts, small_preset

pytestmark = pytest.mark.gpu

CASES = Path(__file__).parent.parent / "reference" / "data"
BLOCKS = 12
ON_GPU = LoadOptions(device="cuda", random_seed=1)


@pytest.mark.parametrize("name", list_cases(CASES))
def test_reference_cases_on_a_gpu(name: str) -> None:
    """In float32, with matrix products in full precision."""
    assert not torch.backends.cuda.matmul.allow_tf32
    deviations = run_case(read_case(CASES, name), device="cuda")
    assert deviations
    assert [deviation for deviation in deviations if not deviation.largest <= 1e-3] == []


def make_take(generator: Generator) -> Take:
    take = Take(generator.start(prompts("a red ball"), seed=7))
    for block in range(BLOCKS):
        if block % 3 == 2:
            mode, sink = MODES[block // 3 % 4], SINK_POLICIES[block // 3 % 2]
            generator.set_prompt(take.stream, prompts(f"blue sea {block}"), mode=mode, sink=sink)
        take.blocks += make_blocks(generator, take.stream, 1)
    return take


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_restored_bit_for_bit_on_a_gpu(dtype: DtypeName) -> None:
    """By replay from latents in host memory, and by copy through it."""
    generator = build_generator(replace(small_preset(), dtype=dtype), ON_GPU)
    take = make_take(generator)
    assert len(set(take.hashes)) == BLOCKS
    kept = [latents.cpu() for latents in take.latents]
    copying = generator.restore(take.journal, kept, 0)
    for block in range(BLOCKS):
        snapshot = generator.save(copying)
        assert all(tensor.device.type == "cpu" for tensor in (*snapshot.history, snapshot.cache.slots[0]))
        for copy in (None, snapshot):
            stream = generator.restore(take.journal, kept, block, snapshot=copy)
            made = make_blocks(generator, stream, BLOCKS - block)
            assert [item.frames_sha256 for item in made] == take.hashes[block:], f"restored at block {block}"
        make_blocks(generator, copying, 1)


def test_a_rewind_on_a_gpu() -> None:
    generator = build_generator(small_preset(), ON_GPU)
    take = make_take(generator)
    generator.rewind(take.stream, [latents.cpu() for latents in take.latents], 7, same_noise=True)
    made = make_blocks(generator, take.stream, 1)
    assert made[0].frames_sha256 == take.hashes[7]


def test_no_memory_is_taken_once_the_window_is_full() -> None:
    generator = build_generator(small_preset(), ON_GPU)
    stream = generator.start(prompts("a red ball"), seed=1)
    make_blocks(generator, stream, 8)
    before = torch.cuda.memory_allocated()
    make_blocks(generator, stream, 40)
    assert torch.cuda.memory_allocated() <= before


def test_the_fingerprint_names_the_gpu() -> None:
    on_gpu = build_generator(small_preset(), ON_GPU)
    on_cpu = build_generator(small_preset(), LoadOptions(random_seed=1))
    assert on_gpu.facts().fingerprint != on_cpu.facts().fingerprint
    assert on_gpu.facts().device.startswith("cuda")
