"""Latents to pixels and pixels to bytes: the linear codec, the rebuilt state, rounding and hashes.

The causal decoder with memory has its own tests; here a decoder is stateless, or a few lines that count.
Knows nothing of trained weights: random directions stand for them.
"""

import hashlib

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import ConfigError, NotFiniteError
from models.vae import (
    DecoderState,
    LinearCodec,
    LinearCodecConfig,
    StreamDecoder,
    frames_sha256,
    rebuild_state,
    to_rgb24,
)

SMALL = LinearCodecConfig(channels=5, frames=4, side=2)


def random_codec(config: LinearCodecConfig = SMALL) -> LinearCodec:
    torch.manual_seed(3)
    codec = LinearCodec(config)
    codec.mean.uniform_(0.3, 0.7)
    return codec


def random_clip(frames: int, *, height: int, width: int) -> Tensor:
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(5))


def test_a_codec_with_every_direction_gives_the_clip_back() -> None:
    codec = random_codec(LinearCodecConfig(channels=48, side=2))
    clip = random_clip(8, height=4, width=6)
    latents = codec.encode(clip)
    assert latents.shape == (2, 48, 2, 3)
    state: DecoderState = codec.start()
    for index, latent in enumerate(latents):
        pixels, state = codec.decode(latent, state)
        assert torch.allclose(pixels, clip[4 * index : 4 * index + 4], atol=1e-5)
    assert state == DecoderState(memory=(), latents=2)


def test_a_patch_is_ordered_frame_row_column_colour() -> None:
    codec = random_codec()
    clip = random_clip(8, height=4, width=6)
    latents = codec.encode(clip)
    for count, row, column in ((0, 0, 0), (1, 1, 2), (0, 1, 1)):
        patch = clip[4 * count : 4 * count + 4, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        vector = patch.permute(0, 2, 3, 1).reshape(-1)
        expected = codec.encode_matrix @ (vector - codec.mean)
        assert torch.allclose(latents[count, :, row, column], expected, atol=1e-6)
        pixels, _ = codec.decode(latents[count], codec.start())
        back = codec.decode_matrix @ expected + codec.mean
        shown = pixels[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.allclose(shown.permute(0, 2, 3, 1).reshape(-1), back.clamp(0, 1), atol=1e-6)


def test_clips_end_to_end_encode_as_each_alone() -> None:
    codec = random_codec()
    first, second = random_clip(4, height=4, width=4), random_clip(8, height=4, width=4).flip(0)
    together = codec.encode(torch.cat([first, second]))
    assert torch.allclose(together, torch.cat([codec.encode(first), codec.encode(second)]), atol=1e-6)


def test_decoded_pixels_stay_in_range_and_every_latent_gives_four_frames() -> None:
    decoder: StreamDecoder = random_codec()
    state = decoder.start()
    latents = 20 * torch.randn(3, 5, 2, 2, generator=torch.Generator().manual_seed(1))
    for index, latent in enumerate(latents):
        pixels, state = decoder.decode(latent.half(), state)
        assert pixels.shape == (4, 3, 4, 4)
        assert pixels.dtype == torch.float32
        assert [float(pixels.min()), float(pixels.max())] == [0.0, 1.0]
        assert decoder.frame_count(index) == 4
    assert decoder.receptive_latents == 0


def test_the_default_codec_is_that_of_the_demo() -> None:
    codec = LinearCodec()
    assert {name: tuple(tensor.shape) for name, tensor in codec.state_dict().items()} == {
        "mean": (768,),
        "encode_matrix": (64, 768),
        "decode_matrix": (768, 64),
    }
    # Not fitted yet, but it inverts itself: latents come back from the pixels they make.
    latents = 0.1 * torch.randn(1, 64, 3, 3, generator=torch.Generator().manual_seed(2))
    pixels, _ = codec.decode(latents[0], codec.start())
    assert torch.allclose(codec.encode(pixels), latents, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 4), (4, 1, 4, 4), (6, 3, 4, 4), (4, 3, 5, 4), (4, 3, 4, 3)])
def test_a_clip_that_patches_do_not_tile_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a clip \[T, 3, H, W\], T a multiple of 4, H and W of 2"):
        random_codec().encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(4, 2, 2), (5, 2), (1, 5, 2, 2)])
def test_a_latent_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    codec = random_codec()
    with pytest.raises(ValueError, match=r"expected a latent frame \[5, H, W\]"):
        codec.decode(torch.zeros(shape), codec.start())


def test_a_negative_latent_number_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more, got -1"):
        random_codec().frame_count(-1)


@pytest.mark.parametrize(("channels", "frames", "side"), [(0, 4, 8), (64, 0, 8), (64, 4, -1), (769, 4, 8)])
def test_sizes_that_cannot_be_are_refused(*, channels: int, frames: int, side: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        LinearCodecConfig(channels, frames, side)


def test_a_stateless_decoder_is_rebuilt_from_nothing() -> None:
    codec = random_codec()
    assert rebuild_state(codec, [], position=7) == DecoderState(memory=(), latents=7)
    with pytest.raises(ValueError, match="expected the 0 latent frames before latent frame 7, got 1"):
        rebuild_state(codec, [torch.zeros(5, 2, 2)], position=7)


def test_rounding_is_half_up_and_clamped() -> None:
    levels = torch.tensor([-1.0, 0.0, 0.49, 0.5, 1.5, 2.5, 254.5, 255.0, 300.0, -1e30])
    pixels = (levels.double() / 255).float().view(1, 1, 1, -1).repeat(2, 3, 1, 1)
    frames = to_rgb24(pixels)
    assert frames.dtype == np.uint8
    assert frames.shape == (2, 1, 10, 3)
    assert frames.flags.c_contiguous
    assert frames[0, 0, :, 0].tolist() == [0, 0, 0, 1, 2, 3, 255, 255, 255, 0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_no_colour(value: float) -> None:
    pixels = torch.zeros(1, 3, 2, 2)
    pixels[0, 1, 1, 0] = value
    with pytest.raises(NotFiniteError, match="finite pixels"):
        to_rgb24(pixels)


def test_every_level_survives_the_way_through_float() -> None:
    levels = torch.arange(256.0).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    assert np.array_equal(to_rgb24(levels / 255)[0, :, :, 2].reshape(-1), np.arange(256))
    half = to_rgb24((levels / 255).half())
    assert np.abs(half[0, :, :, 0].reshape(-1).astype(int) - np.arange(256)).max() <= 1


def test_colours_keep_their_place() -> None:
    pixels = torch.zeros(1, 3, 2, 2)
    pixels[0, 1, 0, 1] = 1.0
    assert to_rgb24(pixels)[0].tolist() == [[[0, 0, 0], [0, 255, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_pixels_that_are_no_numbers_or_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite pixels, got NaN"):
        to_rgb24(torch.full((1, 3, 2, 2), float("nan")))
    with pytest.raises(ValueError, match=r"expected pixels of shape \[T, 3, H, W\], got \[3, 2, 2\]"):
        to_rgb24(torch.zeros(3, 2, 2))


def test_the_hash_is_of_the_raw_bytes_in_order() -> None:
    frames = to_rgb24(random_clip(3, height=4, width=5))
    assert frames_sha256(frames) == hashlib.sha256(frames.tobytes()).hexdigest()
    assert frames_sha256(frames) != frames_sha256(frames[::-1])
    assert frames_sha256(np.asfortranarray(frames)) == frames_sha256(frames)


def test_what_is_not_rgb24_has_no_hash() -> None:
    with pytest.raises(ValueError, match=r"expected uint8 frames \[T, H, W, 3\], got uint8 \[1, 2, 2, 4\]"):
        frames_sha256(np.zeros((1, 2, 2, 4), np.uint8))
    with pytest.raises(ValueError, match="got float32"):
        frames_sha256(np.zeros((1, 2, 2, 3), np.float32))
