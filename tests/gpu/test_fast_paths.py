"""Fast paths on a GPU: Triton's kernels compiled, blocks compiled, passes recorded, kernels measured. `-m gpu`.

What the CPU tests hold under an interpreter or a counting backend, on the device it is written for. Restoring is held
by an engine that is loaded anew with the same folder of kept code, as after a restart.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from models.attention_choice import choose_attention, kept_choice
from models.fast import attention_shape
from models.generator import Generator
from models.hot import Forms
from models.kernels.forms import PlainOps
from models.kernels.triton_forms import TritonOps
from models.load import LoadOptions, build_generator
from models.lossy import Lossy
from models.presets import LONGLIVE_1_3B, DtypeName
from models.reference import list_cases, read_case, run_case
from models.speed import Speed
from models.verify import verify
from tests.models.engines import Take, make_blocks, prompts, small_preset
from tests.models.kernels.held_equal import DTYPES, SHAPES, Sizes, computed

pytestmark = pytest.mark.gpu

CASES = Path(__file__).parent.parent / "reference" / "data"
CUDA = torch.device("cuda")
BLOCKS = 9
PATHS = {
    "fused": Speed(fused="on", compile="off", channels_last="off"),
    "compiled": Speed(fused="off", compile="on", channels_last="off"),
    "both": Speed(fused="on", compile="on", channels_last="on"),
    "recorded": Speed(fused="on", compile="off", channels_last="on", graphs="on"),
    "all": Speed(fused="on", compile="on", channels_last="on", graphs="on"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_compiled_kernels_equal_the_plain_form(sizes: Sizes, dtype: str) -> None:
    with torch.inference_mode():
        pairs = zip(
            computed(PlainOps(), sizes, DTYPES[dtype], device=CUDA),
            computed(TritonOps(), sizes, DTYPES[dtype], device=CUDA),
            strict=True,
        )
        for (name, plain), (_, other) in pairs:
            limit = {"float32": 1e-4, "bfloat16": 2e-2}[dtype] * float(plain.abs().max())
            assert float((plain.double() - other.double()).abs().max()) <= limit, name


@pytest.mark.parametrize("name", list_cases(CASES))
def test_the_published_tensors_by_triton(name: str) -> None:
    deviations = run_case(read_case(CASES, name), device=CUDA, forms=Forms(TritonOps(), "auto"))
    assert [deviation for deviation in deviations if not deviation.largest <= 1e-3] == []


def engine(speed: Speed, folder: Path, dtype: DtypeName = "bfloat16", lossy: Lossy | None = None) -> Generator:
    tuned = replace(speed, tuning_dir=folder)
    options = LoadOptions(device="cuda", random_seed=1, speed=tuned, lossy=lossy or Lossy())
    return build_generator(replace(small_preset(), dtype=dtype), options)


@pytest.mark.parametrize("speed", PATHS.values(), ids=PATHS)
def test_restored_after_a_restart(speed: Speed, tmp_path: Path) -> None:
    first = engine(speed, tmp_path)
    take = Take(first.start(prompts("a red ball"), seed=7))
    changes = {2: "recache", 4: "flush", 6: "recache"}
    for block in range(BLOCKS):
        if block in changes:
            first.set_prompt(take.stream, prompts(f"blue sea {block}"), mode=changes[block])  # type: ignore[arg-type]
        take.blocks += make_blocks(first, take.stream, 1)
    kept = [latents.cpu() for latents in take.latents]
    torch._dynamo.reset()
    again = engine(speed, tmp_path)
    assert again.facts().fingerprint == first.facts().fingerprint
    for block in range(BLOCKS):
        stream = again.restore(take.journal, kept, block)
        made = make_blocks(again, stream, BLOCKS - block)
        assert [item.frames_sha256 for item in made] == take.hashes[block:], f"restored at block {block}"
    assert [finding for finding in verify(again, blocks=8) if not finding.passed] == []


@pytest.mark.parametrize(
    "lossy",
    [
        Lossy(reuse_last_pass=True),
        Lossy(kv_cache="int8"),
        Lossy(short_heads=1, short_window=6),
        Lossy(reuse_last_pass=True, kv_cache="int8", short_heads=1, stagger=0.5),
    ],
    ids=["last pass", "int8", "short heads", "all"],
)
def test_near_lossless_options_are_restored_after_a_restart(lossy: Lossy, tmp_path: Path) -> None:
    first = engine(PATHS["both"], tmp_path, lossy=lossy)
    take = Take(first.start(prompts("a red ball"), seed=7))
    for block in range(BLOCKS):
        if block in (2, 6):
            first.set_prompt(take.stream, prompts(f"blue sea {block}"))
        take.blocks += make_blocks(first, take.stream, 1)
    kept = [latents.cpu() for latents in take.latents]
    torch._dynamo.reset()
    again = engine(PATHS["both"], tmp_path, lossy=lossy)
    assert again.facts().fingerprint == first.facts().fingerprint
    for block in range(BLOCKS):
        stream = again.restore(take.journal, kept, block)
        made = make_blocks(again, stream, BLOCKS - block)
        assert [item.frames_sha256 for item in made] == take.hashes[block:], f"restored at block {block}"


def test_a_decoding_stream_changes_no_frame_and_comes_back_by_copy(tmp_path: Path) -> None:
    """Beside the clean pass and in its place, in turns, and copies taken right behind a block."""
    own, in_place = (engine(replace(PATHS["fused"], decode_stream=one), tmp_path) for one in ("on", "off"))
    assert own.facts().fingerprint == in_place.facts().fingerprint
    streams = [generator.start(prompts("a red ball"), seed=3) for generator in (own, in_place)]
    for number in range(20):
        if number in (5, 11):
            for generator, stream in zip((own, in_place), streams, strict=True):
                generator.set_prompt(stream, prompts(f"blue sea {number}"))
        ours, theirs = (
            make_blocks(generator, stream, 1)[0] for generator, stream in zip((own, in_place), streams, strict=True)
        )
        assert ours.frames_sha256 == theirs.frames_sha256, number
        copies = [generator.save(stream) for generator, stream in zip((own, in_place), streams, strict=True)]
        pairs = zip(
            (*copies[0].decoder.memory, *copies[0].cache.slots),
            (*copies[1].decoder.memory, *copies[1].cache.slots),
            strict=True,
        )
        assert all(torch.equal(one, two) for one, two in pairs), number


def test_nothing_is_compiled_and_no_memory_taken_once_the_window_is_full(tmp_path: Path) -> None:
    generator = engine(PATHS["both"], tmp_path)
    stream = generator.start(prompts("a red ball"), seed=1)
    make_blocks(generator, stream, 6)
    graphs, before = counters["stats"]["unique_graphs"], torch.cuda.memory_allocated()
    make_blocks(generator, stream, 40)
    assert counters["stats"]["unique_graphs"] == graphs
    assert torch.cuda.memory_allocated() <= before


def test_the_passes_wait_for_nothing() -> None:
    """From the noise on the device to the output, torch raises where the host would have to wait."""
    generator = build_generator(small_preset(), LoadOptions(device="cuda", random_seed=1))
    stream = generator.start(prompts("a red ball"), seed=1)
    make_blocks(generator, stream, 6)
    generator.commit(stream)
    parts, plan = generator.parts, stream.window.plan_block()
    noise = torch.randn(1, *parts.block_shape, device=CUDA)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.inference_mode():
            context = parts.passes.prepare(stream.cache, plan, text=stream.text)
            parts.passes.run(noise, time=parts.times[0], context=context)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_attention_kernels_of_the_1_3b_are_measured_once(tmp_path: Path) -> None:
    shape = attention_shape(LONGLIVE_1_3B)
    choice = choose_attention(tmp_path, shape, device=CUDA)
    assert choice.kernel in choice.milliseconds
    assert {"flash", "cudnn"} <= set(choice.milliseconds)
    assert kept_choice(tmp_path, shape, device=CUDA) == choice
