"""The plan that is made before anything is loaded: figures of the published models on an H100, worked out by hand."""

from dataclasses import replace

import pytest
import torch

from cache.kinds import CACHE_KINDS
from models.errors import ConfigError
from models.memory import MemoryPlan, Room, plan_preset, room_of
from models.presets import DEMO, LONGLIVE_1_3B, WAN_14B, Preset

H100 = Room(device_bytes=76_000_000_000, host_bytes=100_000_000_000)
TOKENS = 30 * 52
"""Of a latent frame at 480x832."""
BFLOAT16 = 2


def keys_and_values(frames: int, layers: int, width: int) -> int:
    return frames * TOKENS * layers * width * BFLOAT16


def test_the_1_3b_on_an_h100() -> None:
    plan = plan_preset(LONGLIVE_1_3B, H100, sessions=4)
    assert plan.weights_bytes == 1_418_996_800 * BFLOAT16
    assert plan.text_encoder_bytes == 5_680_910_336 * BFLOAT16
    assert plan.codec_bytes == pytest.approx(11_300_000 * BFLOAT16, rel=0.01)
    # Design section 1: 3.45 GB of keys and values; beside them the sink's keys as they were made.
    assert keys_and_values(2 * 12, 30, 1536) == pytest.approx(3.45e9, rel=1e-3)
    assert plan.cache_bytes == keys_and_values(2 * 12 + 3, 30, 1536)
    assert plan.text_bytes == 2 * 30 * 512 * 1536 * BFLOAT16
    assert plan.decoder_bytes == pytest.approx(70e6, rel=0.05)
    assert plan.history_bytes == 12 * 16 * 60 * 104 * BFLOAT16
    widest, largest_pass = 4 * 64 * 4 * 480 * 832 * BFLOAT16, 12 * TOKENS * (8960 + 8 * 1536) * BFLOAT16
    assert plan.workspace_bytes == max(widest, largest_pass) == widest
    assert plan.placement == "device"
    room = H100.device_bytes - plan.weights_bytes - plan.text_encoder_bytes - plan.codec_bytes - plan.workspace_bytes
    assert plan.max_streams == room // plan.stream_bytes == 15


def test_the_1_3b_with_the_full_vae() -> None:
    """1.8 GB a stream for what the decoder remembers (longlive-spec 7.3: 944.3 million numbers)."""
    plan = plan_preset(replace(LONGLIVE_1_3B, decoder="full"), H100, sessions=4)
    assert plan.decoder_bytes == pytest.approx(944.3e6 * BFLOAT16, rel=1e-3)
    assert plan.codec_bytes == 126_892_531 * BFLOAT16
    assert plan.max_streams == 10


def test_the_14b_on_an_h100() -> None:
    """The text encoder visits by layers: beside it there would be room for one stream, without it for two."""
    plan = plan_preset(WAN_14B, H100, sessions=4)
    assert plan.weights_bytes == 14_288_491_584 * BFLOAT16
    assert plan.cache_bytes == keys_and_values(2 * 12 + 3, 40, 5120)
    assert (plan.placement, plan.max_streams) == ("offload", 2)
    assert plan.host_weights_bytes == 5_680_910_336 * BFLOAT16
    assert plan.text_encoder_bytes == 192_948_224 * BFLOAT16, "a layer of it"
    assert plan.workspace_bytes == 12 * TOKENS * (13824 + 8 * 5120) * BFLOAT16
    assert plan_preset(WAN_14B, H100, placement="device").max_streams == 1


def test_int8_weighs_half() -> None:
    plain, small = (plan_preset(LONGLIVE_1_3B, H100, quantize=kind) for kind in ("none", "int8"))
    assert small.weights_bytes == 1_449_426_560
    assert replace(small, weights_bytes=plain.weights_bytes) == plain


def test_keys_and_values_in_eight_bits_make_room_for_twice_the_streams() -> None:
    """A byte a number and two for the scale of each head; reading a layer takes room that the workspace tells of."""
    plain, small = (plan_preset(LONGLIVE_1_3B, H100, sessions=4, kind=kind) for kind in CACHE_KINDS)
    numbers = keys_and_values(2 * 12 + 3, 30, 1536) // BFLOAT16
    assert small.cache_bytes == numbers + numbers // 128 * 2
    assert small.workspace_bytes == 12 * TOKENS * ((8960 + 8 * 1536) * BFLOAT16 + 1536 * (2 * BFLOAT16 + 8))
    assert (plain.max_streams, small.max_streams) == (15, 28)


def test_known_adapters_keep_the_blocks_weights_in_host_memory() -> None:
    plain, adapted = (plan_preset(LONGLIVE_1_3B, H100, adapted=known) for known in (False, True))
    linears = 30 * (8 * 1536**2 + 2 * 1536 * 8960)
    assert adapted.host_weights_bytes - plain.host_weights_bytes == linears * BFLOAT16


def test_copies_of_streams_share_what_is_left_of_the_host() -> None:
    plan = plan_preset(LONGLIVE_1_3B, H100)
    assert plan.snapshot_bytes == plan.cache_bytes + plan.decoder_bytes + plan.history_bytes
    assert plan.max_snapshots == 100_000_000_000 // plan.snapshot_bytes == 25


@pytest.mark.parametrize("preset", [LONGLIVE_1_3B, WAN_14B], ids=lambda preset: str(preset.name))
def test_what_does_not_fit_is_refused_with_the_arithmetic(preset: Preset) -> None:
    plan = plan_preset(preset, Room(device_bytes=8_000_000_000, host_bytes=64_000_000_000))
    assert (plan.max_streams, plan.placement) == (0, "device" if plan.text_encoder_bytes > 10**9 else "offload")
    with pytest.raises(ConfigError) as refused:
        plan.check()
    for figure in (8_000_000_000, plan.weights_bytes, plan.text_encoder_bytes, plan.workspace_bytes, plan.stream_bytes):
        assert str(figure) in str(refused.value)
    assert refused.value.field == "memory_budget_bytes"


def test_a_host_without_room_for_the_text_encoder_is_told() -> None:
    plan = plan_preset(WAN_14B, replace(H100, host_bytes=1_000_000_000), placement="offload")
    with pytest.raises(ConfigError, match="1000000000 bytes of host memory"):
        plan.check()


def test_the_account_names_every_share() -> None:
    lines = plan_preset(LONGLIVE_1_3B, H100).lines()
    assert [line.split("  ")[0].strip() for line in lines] == [
        *("transformer", "text encoder", "decoder", "workspace", "a stream", "budget", "host memory"),
    ]
    assert "2.64 GiB" in lines[0]
    assert "room for 15 streams" in lines[5]


def test_one_memory_holds_all_where_there_is_no_device() -> None:
    plan: MemoryPlan = plan_preset(DEMO, room_of(torch.device("cpu"), budget_bytes=10**9))
    assert (plan.budget_bytes, plan.placement, plan.host_weights_bytes) == (10**9, "device", 0)
    assert plan.max_streams > 50
