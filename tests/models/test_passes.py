"""Passes through a cache: where the pieces stand, what noisy and clean passes leave, and sizes."""

import pytest
import torch
from torch import Tensor

from cache.kv import KVCache
from cache.text_kv import TextKeysValues
from cache.window import PassPlan, WindowSpec, WindowState
from models.attention import FullAttention, Kernel
from models.config import TransformerConfig
from models.passes import CachedAttention, CachedPasses
from models.pieces import randomise
from models.rope import rotate, time_rotation
from models.transformer import PassContext, Transformer

CONFIG = TransformerConfig(
    dim=24, ffn_dim=32, num_layers=2, num_heads=2, text_dim=8, text_len=5, in_channels=4, out_channels=4, freq_dim=16
)
HEIGHT, WIDTH, TOKENS = 4, 6, 6


def draw(seed: int, frames: int = 3) -> Tensor:
    return torch.randn(1, frames, 4, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def make(spec: WindowSpec | None = None, kernel: Kernel = "auto", dtype: torch.dtype = torch.float32) -> CachedPasses:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Transformer(CONFIG)
        randomise(model)
    model = model.to(dtype).eval().requires_grad_(False)
    return CachedPasses(model, spec or WindowSpec(), height=HEIGHT, width=WIDTH, kernel=kernel)


def make_text(passes: CachedPasses, seed: int = 0) -> TextKeysValues:
    embedding = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(seed))
    return passes.transformer.embed_text(embedding)


def clean(passes: CachedPasses, cache: KVCache, plan: PassPlan, *, seed: int) -> None:
    def frames(first: int, count: int) -> Tensor:
        assert (first, count) == (plan.first_frame, plan.frames)
        return draw(seed)

    passes.rebuild(cache, plan, frames=frames, text=make_text(passes), time=passes.embed_timestep(0.0))


def noisy(passes: CachedPasses, cache: KVCache, plan: PassPlan, *, seed: int) -> Tensor:
    context = passes.prepare(cache, plan, text=make_text(passes))
    out: Tensor = passes.transformer(draw(seed), time=passes.embed_timestep(800.0), context=context)
    return out


def test_sizes_are_those_of_the_model() -> None:
    passes = make(dtype=torch.bfloat16)
    shape = passes.cache_shape(batch=3)
    assert (shape.layers, shape.heads, shape.head_dim, shape.tokens_per_frame, shape.batch) == (2, 2, 12, TOKENS, 3)
    cache = passes.new_cache(batch=3)
    assert cache.keys_LBNHD.shape == (2, 3, 12 * TOKENS, 2, 12)
    assert cache.keys_LBNHD.dtype == cache.values_LBNHD.dtype == torch.bfloat16
    assert cache.spec is passes.spec
    assert passes.cache_shape().batch == 1


def test_the_first_block_attends_to_itself() -> None:
    passes = make()
    plan = WindowState(passes.spec).plan_block()
    cached = noisy(passes, passes.new_cache(), plan, seed=1)
    context = PassContext(
        passes.transformer.rope(range(3), height=HEIGHT, width=WIDTH), make_text(passes), FullAttention()
    )
    plain = passes.transformer(draw(1), time=passes.embed_timestep(800.0), context=context)
    assert torch.equal(cached, plain)


def test_a_pass_sees_the_block_before_it() -> None:
    passes = make()
    first, second = WindowState(passes.spec).plan_block(), WindowState(passes.spec).advance().plan_block()
    outputs = []
    for seed in (1, 1, 2):
        cache = passes.new_cache()
        clean(passes, cache, first, seed=seed)
        outputs.append(noisy(passes, cache, second, seed=9))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_noisy_passes_leave_nothing_behind_the_clean_one() -> None:
    passes = make()
    caches = (passes.new_cache(), passes.new_cache())
    state = WindowState(passes.spec)
    for block in range(6):
        plan = state.plan_block()
        for step in range(3):
            noisy(passes, caches[0], plan, seed=100 + step)
        for cache in caches:
            clean(passes, cache, plan, seed=block)
        state = state.advance()
    assert torch.equal(
        noisy(passes, caches[0], state.plan_block(), seed=50), noisy(passes, caches[1], state.plan_block(), seed=50)
    )
    assert torch.equal(caches[0].keys_LBNHD, caches[1].keys_LBNHD)
    assert torch.equal(caches[0].values_LBNHD, caches[1].values_LBNHD)


def test_preparing_a_pass_puts_the_sink_before_the_window() -> None:
    passes = make()
    cache, state = passes.new_cache(), WindowState(passes.spec)
    for block in range(6):
        clean(passes, cache, state.plan_block(), seed=block)
        state = state.advance()
    plan = state.plan_block()
    assert plan.sink_shift == 9
    context = passes.prepare(cache, plan, text=make_text(passes))
    moved = rotate(cache.sink_keys_LBTHD, time_rotation(12, 9))
    assert torch.equal(cache.keys_LBNHD[:, :, : 3 * TOKENS], moved)
    assert torch.equal(context.rope.cos_N1P, passes.transformer.rope([18, 19, 20], height=HEIGHT, width=WIDTH).cos_N1P)


def test_attention_writes_before_it_reads() -> None:
    """A block's own keys are among those it attends to."""
    passes = make()
    cache, plan = passes.new_cache(), WindowState(passes.spec).plan_block()
    q, k, v = torch.randn(3, 1, 3 * TOKENS, 2, 12, generator=torch.Generator().manual_seed(1)).unbind(0)
    out = CachedAttention(cache, plan, "reference").attend(1, q, k, v)
    assert torch.equal(out, FullAttention("reference").attend(1, q, k, v))
    assert torch.equal(cache.read(1, plan=plan)[0], k)
    assert cache.keys_LBNHD[0].count_nonzero() == 0


@pytest.mark.parametrize("kernel", ["auto", "flash", "plain", "reference"])
def test_the_kernel_is_used_for_both_kinds_of_attention(kernel: Kernel) -> None:
    passes = make(kernel=kernel)
    cache, plan = passes.new_cache(), WindowState(passes.spec).plan_block()
    context = passes.prepare(cache, plan, text=make_text(passes))
    assert context.kernel == kernel
    assert isinstance(context.attend, CachedAttention)
    assert context.attend.kernel == kernel
    out = noisy(passes, cache, plan, seed=1)
    reference = make(kernel="reference")
    assert (out - noisy(reference, reference.new_cache(), plan, seed=1)).abs().max() < 1e-5


def test_a_timestep_for_all_frames() -> None:
    passes = make()
    time = passes.embed_timestep(625.0)
    assert time.blocks_BF6C.shape == (1, 1, 6, 24)
    assert torch.equal(time.head_BFC, passes.transformer.embed_time(torch.tensor([[625.0]])).head_BFC)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_turning_is_the_models_rotation(dtype: torch.dtype) -> None:
    passes = make(dtype=dtype)
    keys = torch.randn(2, 1, TOKENS, 2, 12, generator=torch.Generator().manual_seed(2)).to(dtype)
    turned = passes.turn(keys, 30)
    assert turned.dtype == dtype
    assert torch.equal(turned, rotate(keys, time_rotation(12, 30)))
