"""The fitted codec: deterministic, its patches in the decoder's order, close to what it encodes."""

import torch

from models.train.codec import decode_latents, encode_clips, fit_codec, patches_of, psnr
from models.train.render import Renderer
from models.vae import LinearCodec


def test_the_round_trip_is_close(renderer: Renderer, codec: LinearCodec) -> None:
    clips = renderer.clips(8, 12, switch_share=0.3, generator=torch.Generator().manual_seed(1))
    latents = encode_clips(codec, clips.frames)
    assert latents.shape == (8, 3, 64, 12, 12)
    back = decode_latents(codec, latents)
    assert psnr(back, clips.frames) > 28
    rough = decode_latents(codec, torch.zeros_like(latents))
    assert psnr(rough, clips.frames) < 15


def test_patches_are_ordered_as_the_codec_orders_them(renderer: Renderer, codec: LinearCodec) -> None:
    clips = renderer.clips(2, 4, switch_share=0.0, generator=torch.Generator().manual_seed(2))
    by_patches = (patches_of(codec, clips.frames) - codec.mean) @ codec.encode_matrix.T
    latents = encode_clips(codec, clips.frames).permute(0, 1, 3, 4, 2).reshape(-1, 64)
    torch.testing.assert_close(by_patches, latents, atol=1e-4, rtol=1e-4)


def test_encoding_what_was_decoded_changes_nothing(codec: LinearCodec) -> None:
    identity = codec.encode_matrix @ codec.decode_matrix
    torch.testing.assert_close(identity, torch.eye(64), atol=1e-3, rtol=0)


def test_channels_are_half_whitened(renderer: Renderer, codec: LinearCodec) -> None:
    """A channel's deviation is the square root of its component's, so the decoder's columns have that length."""
    clips = renderer.clips(32, 12, switch_share=0.3, generator=torch.Generator().manual_seed(3))
    deviation = encode_clips(codec, clips.frames).std(dim=(0, 1, 3, 4))
    lengths = codec.decode_matrix.norm(dim=0)
    ratio = deviation / lengths
    assert 0.4 < float(ratio.min()) < float(ratio.max()) < 2.0


def test_the_same_seed_fits_the_same_codec(renderer: Renderer) -> None:
    first, again = (fit_codec(renderer, clips=32, frames=4, seed=5) for _ in range(2))
    assert torch.equal(first.decode_matrix, again.decode_matrix)
