"""The presets: sizes that fit together, that give the published parameter counts, and words the demo knows.

Models are built on the meta device: shapes without memory. No file of weights is opened.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from models.config import VideoConfig
from models.errors import ConfigError, PresetError
from models.memory import Room, plan_preset
from models.presets import DEMO, LONGLIVE_1_3B, PRESETS, SELF_FORCING_1_3B, WAN_14B, Preset, get_preset
from models.text import WordEncoder, WordEncoderConfig, split_words
from models.tiny_decoder import TinyDecoderConfig
from models.train.bundle import DemoSizes
from models.train.world import VOCABULARY
from models.transformer import Transformer
from models.vae import LinearCodec


def parameters(preset: Preset) -> int:
    with torch.device("meta"):
        model = Transformer(preset.transformer)
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_published_sizes_have_the_published_parameters() -> None:
    assert parameters(LONGLIVE_1_3B) == 1_418_996_800
    assert parameters(SELF_FORCING_1_3B) == 1_418_996_800
    assert parameters(WAN_14B) == 14_288_491_584


def test_the_demo_fits_in_the_repository() -> None:
    assert DEMO.text is not None
    vocabulary = ("<pad>", "<unk>", *VOCABULARY)
    with torch.device("meta"):
        others = (WordEncoder(replace(DEMO.text, vocabulary=vocabulary)), LinearCodec())
    count = parameters(DEMO) + sum(tensor.numel() for module in others for tensor in module.state_dict().values())
    assert 2 * count < 8 * 10**6  # bytes, in half precision


def test_the_demo_has_the_sizes_that_are_trained() -> None:
    sizes = DemoSizes()
    assert DEMO.transformer == sizes.transformer()
    assert DEMO.text == replace(sizes.text(), vocabulary=WordEncoderConfig().vocabulary)


def test_tokens_of_a_frame() -> None:
    for preset, expected in ((DEMO, 36), (LONGLIVE_1_3B, 1560), (WAN_14B, 1560)):
        video = preset.video
        assert preset.transformer.tokens_per_frame(video.latent_height, video.latent_width) == expected


def test_what_a_preset_says_of_itself() -> None:
    assert (DEMO.width, DEMO.height, DEMO.fps) == (96, 96, 16)
    assert (DEMO.block_frames, DEMO.frames_per_block) == (3, 12)
    assert len(DEMO.steps) == 4
    assert LONGLIVE_1_3B.steps == (1000, 750, 500, 250)
    assert (LONGLIVE_1_3B.width, LONGLIVE_1_3B.height) == (832, 480)
    for preset in PRESETS:
        assert preset.window.positions == "relative"
        assert (preset.window.window_frames, preset.window.sink_frames) == (
            21 if preset is SELF_FORCING_1_3B else 12,
            3,
        )
        assert preset.licence.url.startswith("https://")
        assert preset.licence.accept_required == (not preset.licence.commercial)
    assert not LONGLIVE_1_3B.licence.commercial
    assert DEMO.licence.commercial


def test_a_decoder_of_the_preset_takes_its_latents() -> None:
    for preset in PRESETS:
        linear = LinearCodec().config.channels
        codecs = {"linear": linear, "refined": linear, "tiny": TinyDecoderConfig().latent_channels}
        assert codecs[preset.decoder] == preset.video.latent_channels
        assert preset.vae is None or preset.vae.z_dim == preset.video.latent_channels
    codec = LinearCodec()
    latent = torch.zeros(64, DEMO.video.latent_height, DEMO.video.latent_width)
    pixels, _ = codec.decode(latent, codec.start())
    assert pixels.shape == (4, 3, DEMO.height, DEMO.width)


def test_the_demo_knows_every_word_it_suggests() -> None:
    words = {word for prompt in DEMO.suggested_prompts for word, _ in split_words(prompt)}
    assert words <= set(VOCABULARY)
    for preset in PRESETS:
        assert preset.suggested_prompts
        assert all(0 < len(prompt) <= 2000 for prompt in preset.suggested_prompts)


def test_the_larger_size_leaves_room_for_two_streams_on_one_large_device() -> None:
    """Reckoned here from the sizes of the architecture alone, in bfloat16 (two bytes a number)."""
    config, tokens = WAN_14B.transformer, 1560
    plan = plan_preset(WAN_14B, Room(device_bytes=76 * 2**30, host_bytes=100 * 2**30))
    assert plan.weights_bytes == 2 * 14_288_491_584
    a_frame = 2 * config.num_layers * tokens * config.dim  # keys, or values, of one latent frame
    # The window's keys and values, and the sink's keys once more, not turned to their place yet.
    assert plan.cache_bytes == (2 * 12 + 3) * a_frame
    assert plan.text_bytes == 2 * 2 * config.num_layers * config.text_len * config.dim
    assert plan.text_encoder_bytes == 2 * 5_680_910_336
    left = 76 * 2**30 - plan.weights_bytes - plan.text_encoder_bytes - plan.codec_bytes - plan.workspace_bytes
    assert plan.max_streams == left // plan.stream_bytes == 2
    with pytest.raises(ConfigError, match="leave no room for a stream"):
        plan_preset(WAN_14B, Room(device_bytes=40 * 2**30, host_bytes=100 * 2**30)).check()


def test_presets_are_found_by_name() -> None:
    for preset in PRESETS:
        assert get_preset(preset.name) is preset
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)


@pytest.mark.parametrize("name", ["", "Demo", "demo ", "x" * 10_000])
def test_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(
        PresetError, match=r"expected a model out of demo, longlive-1\.3b, self-forcing-1\.3b, wan-14b"
    ) as caught:
        get_preset(name)
    assert (caught.value.code, caught.value.field) == ("model_unknown", "model")
    assert len(str(caught.value)) < 250


def test_a_preset_without_weights_says_so() -> None:
    DEMO.require_available()
    assert not WAN_14B.available
    with pytest.raises(PresetError, match="wan-14b cannot be served with its weights yet: no causal") as caught:
        WAN_14B.require_available()
    assert (caught.value.code, caught.value.field) == ("model_unavailable", "model")


def wide(width: int, channels: int) -> VideoConfig:
    return VideoConfig(width=width, height=96, latent_channels=channels)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda: replace(DEMO, video=wide(96, 16)), "transformer"),
        (lambda: replace(DEMO, video=wide(128, 64)), "learned_position"),
        (lambda: replace(DEMO, text=WordEncoderConfig(dim=48, text_len=24)), "text"),
        (lambda: replace(DEMO, text=WordEncoderConfig(dim=96, text_len=23)), "text"),
        (lambda: replace(LONGLIVE_1_3B, video=wide(840, 16)), "width"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: Callable[[], Preset], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        change()
    assert caught.value.field == field
