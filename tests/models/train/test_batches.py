"""Rows of a pass: windows as the cache has them, prompts that fit what is shown, most loss where only text tells."""

import pytest
import torch

from models.text import PAD_TOKEN, WordEncoder
from models.train.batches import BatchConfig, Drawn, draw
from models.train.bundle import DemoSizes
from models.train.losses import NoiseLevels
from models.train.pool import ClipPool, PoolConfig
from models.train.render import Renderer
from models.train.rows import single_row, stream_shift, streamed_rows, switched_rows, tabulate, window_places
from models.train.world import MOTION, MOTIONS
from models.vae import LinearCodec

MIXED = BatchConfig(single=6, streams=3, switches=4)


@pytest.fixture(scope="module")
def pool(renderer: Renderer, codec: LinearCodec) -> ClipPool:
    config = PoolConfig(clips=24, blocks=6, switch_share=0.7, fresh=1)
    made = ClipPool(config, renderer, codec=codec)
    made.fill(torch.Generator().manual_seed(1))
    return made


def drawn(pool: ClipPool, config: BatchConfig, seed: int = 0) -> Drawn:
    encoder = WordEncoder(DemoSizes().text())
    return draw(config, pool, encoder=encoder, levels=NoiseLevels(), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("place", "seen", "shift"),
    [(0, (0,), 0), (1, (0, 1), 0), (2, (0, 1, 2), 0), (3, (0, 1, 2, 3), 0), (6, (0, 4, 5, 6), 3)],
)
def test_windows_are_sink_two_past_blocks_and_the_block(place: int, seen: tuple[int, ...], shift: int) -> None:
    assert window_places(place) == seen
    assert stream_shift(place) == shift


def test_a_stream_gives_clean_rows_and_noisy_ones() -> None:
    rows = streamed_rows([0, 3, 4, 5], [2, 3])
    assert [row.noisy for row in rows] == [False, False, False, True, True]
    assert [row.block for row in rows] == [0, 3, 4, 4, 5]
    assert rows[3].window == (0, 1, 3)
    assert rows[4].window == (0, 1, 2, 4)


def test_an_early_switch_rebuilds_the_sink_and_a_late_one_keeps_it() -> None:
    early, late = switched_rows(range(8), 3, after=1), switched_rows(range(8), 6, after=1)
    assert all(row.new_prompt for row in early)
    assert [row.window for row in early[:3]] == [(0, 1, 2)] * 3
    assert [row.new_prompt for row in late] == [False, True, True, True, True]
    assert late[0].window == (0,)
    assert [row.place for row in late] == [0, 3, 4, 5, 6]


def test_tables_join_samples_and_shift_windows() -> None:
    tables = tabulate([(7, single_row(2)), (9, streamed_rows([0, 1], [1]))])
    assert tables.clip.tolist() == [7, 9, 9]
    assert tables.window.tolist() == [[0, -1, -1, -1], [1, -1, -1, -1], [1, 2, -1, -1]]


def test_a_pass_is_a_function_of_its_generator(pool: ClipPool) -> None:
    first, again, other = drawn(pool, MIXED), drawn(pool, MIXED), drawn(pool, MIXED, seed=1)
    assert torch.equal(first.rows.noise, again.rows.noise)
    assert torch.equal(first.rows.tokens, again.rows.tokens)
    assert not torch.equal(first.rows.latents, other.rows.latents)


def test_most_rows_with_loss_are_first_blocks_or_after_a_switch(pool: ClipPool) -> None:
    tables = drawn(pool, BatchConfig(single=24, streams=2, switches=3)).tables
    first = (tables.noisy & (tables.place == 0)).sum()
    assert 2 * int(first) >= int(tables.noisy.sum())


def test_clean_rows_carry_no_loss_and_little_noise(pool: ClipPool) -> None:
    made = drawn(pool, MIXED)
    clean = ~made.tables.noisy
    assert bool((made.rows.loss_weight[clean] == 0).all())
    assert bool((made.rows.sigma[clean] <= MIXED.context_noise).all())
    assert bool((made.rows.loss_weight[~clean] == 1).all())


def test_single_blocks_may_be_shorter_and_prompts_dropped(pool: ClipPool) -> None:
    short = drawn(pool, BatchConfig(single=8, single_frames=1, prompt_dropout=1.0))
    assert short.rows.latents.shape[:2] == (8, 1)
    assert bool((short.rows.tokens == PAD_TOKEN).all())


def test_switches_need_a_pool_that_has_some(renderer: Renderer, codec: LinearCodec) -> None:
    still = ClipPool(PoolConfig(clips=2, blocks=2), renderer, codec=codec)
    still.fill(torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="raise switch_share"):
        drawn(still, BatchConfig(single=0, switches=1))


def test_noise_levels_reach_from_low_to_pure() -> None:
    levels = NoiseLevels()
    sigma = levels.sample(4000, torch.Generator().manual_seed(0))
    assert 0.02 <= float(sigma.min()) < 0.3
    assert float(sigma.max()) == 1.0
    pure = float((sigma == 1).float().mean())
    assert abs(pure - levels.pure_share) < 0.03


def test_streams_may_carry_loss_on_more_blocks(pool: ClipPool) -> None:
    """The more of a stream's blocks are noisy, the larger the share of rows that is trained on."""
    shares = []
    for noisy_blocks in (1, 4):
        tables = drawn(pool, BatchConfig(single=0, streams=8, noisy_blocks=noisy_blocks)).tables
        of_stream = [int(tables.noisy[tables.clip == clip].sum()) for clip in tables.clip.unique()]
        shares.append(float(tables.noisy.float().mean()))
        assert max(of_stream) >= noisy_blocks
    assert shares[1] > 1.5 * shares[0]


def test_fewer_objects_rest_where_asked(renderer: Renderer, codec: LinearCodec) -> None:
    resting = []
    for kept in (1.0, 0.0):
        pool = ClipPool(PoolConfig(clips=32, blocks=1, rests_kept=kept), renderer, codec=codec)
        pool.fill(torch.Generator().manual_seed(1))
        resting.append(int((pool.attributes[..., MOTION] == MOTIONS.index("rests")).sum()))
    assert resting[0] > 4
    assert resting[1] == 0
