"""The 1.3B at its own size with random weights, and quantised engines, on a GPU. Chosen with `-m gpu`.

Figures are for `longtake bench --preset longlive-1.3b --random-weights --device cuda`; here is what has to hold.
"""

from dataclasses import replace

import pytest
import torch

from models.load import LoadOptions, build_generator, load_engine, plan_loading
from models.presets import LONGLIVE_1_3B
from models.quantize import Quantize
from models.verify import verify
from tests.models.engines import make_blocks, prompts, small_preset

pytestmark = pytest.mark.gpu

LARGE = LoadOptions(device="cuda", random_seed=0)


@pytest.mark.parametrize("quantize", ["none", "fp8"])
def test_the_1_3b_takes_no_more_than_is_planned(quantize: Quantize) -> None:
    """Blocks until the window is full, and a recache of all of it."""
    options = replace(LARGE, quantize=quantize)
    plan = plan_loading(LONGLIVE_1_3B, options)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    generator = load_engine(LONGLIVE_1_3B.name, options)
    assert torch.cuda.memory_allocated() - before <= 1.02 * plan.model_bytes
    stream = generator.start(prompts("a lighthouse at dawn"), seed=1)
    blocks = make_blocks(generator, stream, 5)
    generator.set_prompt(stream, prompts("fog rolls in"))
    blocks += make_blocks(generator, stream, 1)
    assert [block.frames.shape for block in blocks] == [(9, 480, 832, 3), *[(12, 480, 832, 3)] * 5]
    assert all(block.latents.isfinite().all() for block in blocks)
    planned = plan.model_bytes + plan.workspace_bytes + plan.stream_bytes
    assert torch.cuda.max_memory_allocated() - before <= planned
    measured = generator.plan_memory(stream, budget_bytes=plan.budget_bytes)
    assert measured.stream_bytes == plan.stream_bytes


@pytest.mark.parametrize("quantize", ["none", "int8", "fp8"])
def test_a_quantised_engine_is_verified(quantize: Quantize) -> None:
    """Sizes that the kernels take: rows by the dozen, sides of 128."""
    small = small_preset()
    sizes = replace(small.transformer, dim=128, ffn_dim=256, text_len=64)
    assert small.text is not None
    text = replace(small.text, text_len=64)
    video = replace(small.video, width=96, height=96)
    preset = replace(small, transformer=sizes, text=text, video=video, dtype="bfloat16", decoder="linear")
    generator = build_generator(preset, LoadOptions(device="cuda", random_seed=1, quantize=quantize))
    findings = list(verify(generator, blocks=8))
    assert [finding for finding in findings if not finding.passed] == []
