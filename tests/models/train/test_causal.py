"""Teacher forcing equals inference: the same blocks through gathered windows and through the cache give the same x0."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from cache.text_kv import TextKeysValues
from cache.window import WindowSpec, WindowState
from models.config import TRAINING_TIMESTEPS
from models.passes import CachedPasses
from models.sampler import model_input, to_x0
from models.train.bundle import Bundle, DemoSizes, empty_bundle
from models.train.losses import predict_x0
from models.train.rows import (
    GatheredWindows,
    Row,
    TokenGrid,
    row_rotation,
    sink_rotation,
    streamed_rows,
    switched_rows,
    tabulate,
)

SIZES = DemoSizes(dim=48, ffn_dim=64, num_layers=3, num_heads=2, text_dim=12, text_len=16, freq_dim=16)
SIGMA = 0.7
SIDE = 12
BLOCKS = 8
OLD, NEW = "a red ball rests in the snow by day", "a blue star sways at sea at night"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    made = empty_bundle(SIZES, seed=3)
    with torch.no_grad():
        for parameter in made.transformer.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return made


@pytest.fixture(scope="module")
def latents() -> Tensor:
    """Clean latents, then noisy ones: [2, blocks, 3, C, side, side]."""
    return torch.randn(2, BLOCKS, 3, SIZES.channels, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def text_of(bundle: Bundle, prompt: str) -> TextKeysValues:
    return bundle.transformer.embed_text(bundle.text_encoder(bundle.text_encoder.tokenize(prompt)[None]))


class CachedStream:
    """The inference side: blocks one after another through the cache, their x0 at one noise level."""

    def __init__(self, bundle: Bundle, latents: Tensor) -> None:
        self.model = bundle.transformer
        self.clean, self.noisy = latents
        self.passes = CachedPasses(self.model, WindowSpec(), height=SIDE, width=SIDE)
        self.cache = self.passes.new_cache()
        self.state = WindowState(WindowSpec())

    def recache(self, text: TextKeysValues) -> None:
        recache = self.state.plan_recache("keep")
        time = self.passes.embed_timestep(0.0)
        self.passes.rebuild(self.cache, recache.plan, frames=self._frames, text=text, time=time)
        self.state = recache.state

    def block(self, text: TextKeysValues) -> Tensor:
        plan = self.state.plan_block()
        number = plan.first_frame // 3
        time = self.passes.embed_timestep(TRAINING_TIMESTEPS * SIGMA)
        noisy, std = self.noisy[number][None], self.model.data_std
        given = model_input("edm_x0", noisy, SIGMA, std)
        output = self.model(given, time=time, context=self.passes.prepare(self.cache, plan, text=text))
        clean_time = self.passes.embed_timestep(0.0)
        self.passes.rebuild(
            self.cache, self.state.plan_clean(plan.first_frame), frames=self._frames, text=text, time=clean_time
        )
        self.state = self.state.advance()
        return to_x0("edm_x0", output, noisy=noisy, sigma=SIGMA, data_std=std)[0]

    def _frames(self, first: int, count: int) -> Tensor:
        frames = self.clean.flatten(0, 1)[first : first + count][None]
        return model_input("edm_x0", frames, 0.0, self.model.data_std)


@torch.no_grad()
def forced(bundle: Bundle, latents: Tensor, rows: Sequence[Row]) -> Tensor:
    """The training side: x0 of the noisy rows in one pass."""
    tables = tabulate([(0, tuple(rows))])
    grid = TokenGrid(SIZES.dim // SIZES.num_heads, 3, SIZES.rows, SIZES.columns)
    given = latents[tables.noisy.long(), tables.block]
    old, new = text_of(bundle, OLD), text_of(bundle, NEW)
    both = TextKeysValues(
        torch.cat([old.keys_LBTHD, new.keys_LBTHD], dim=1), torch.cat([old.values_LBTHD, new.values_LBTHD], dim=1)
    )
    prompt = tables.new_prompt.long()
    text = TextKeysValues(both.keys_LBTHD[:, prompt], both.values_LBTHD[:, prompt])
    attend = GatheredWindows(tables.window, sink_rotation(grid, tables.sink_shift))
    sigma = torch.where(tables.noisy, SIGMA, 0.0)
    rope = row_rotation(grid, tables.place)
    return predict_x0(bundle.transformer, given, sigma_R=sigma, text=text, rope=rope, attend=attend)[tables.noisy]


@torch.no_grad()
def test_a_stream_is_the_same_by_windows_and_by_cache(bundle: Bundle, latents: Tensor) -> None:
    stream, old = CachedStream(bundle, latents), text_of(bundle, OLD)
    cached = torch.stack([stream.block(old) for _ in range(7)])
    places = [1, 2, 3, 4, 5, 6]
    torch.testing.assert_close(
        forced(bundle, latents, streamed_rows(range(BLOCKS), places)), cached[places], atol=1e-4, rtol=1e-4
    )


@torch.no_grad()
@pytest.mark.parametrize("switch", [1, 2, 3, 4, 5, 6])
def test_a_switch_is_the_same_by_windows_and_by_recache(bundle: Bundle, latents: Tensor, switch: int) -> None:
    stream, old, new = CachedStream(bundle, latents), text_of(bundle, OLD), text_of(bundle, NEW)
    for _ in range(switch):
        stream.block(old)
    stream.recache(new)
    cached = torch.stack([stream.block(new) for _ in range(2)])
    rows = switched_rows(range(BLOCKS), switch, after=2)
    torch.testing.assert_close(forced(bundle, latents, rows), cached, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_comparison_can_fail(bundle: Bundle, latents: Tensor) -> None:
    right = switched_rows(range(BLOCKS), 5, after=1)
    moved = [Row(r.block, r.place, r.noisy, r.new_prompt, r.window, sink_shift=0) for r in right]
    old_prompt = [Row(r.block, r.place, r.noisy, False, r.window, r.sink_shift) for r in right]
    expected = forced(bundle, latents, right)
    for wrong in (moved, old_prompt):
        assert float((forced(bundle, latents, wrong) - expected).abs().max()) > 1e-3
