"""Fit the linear codec on rendered clips: principal components of 4x8x8 pixel patches, half whitened.

Knows the renderer and `models.vae.LinearCodec`; knows nothing about diffusion. A latent channel is a principal
component divided by the square root of its own deviation: without whitening the fine channels vanish in the
training loss, with full whitening noise in them weighs as much as the layout. Patches that hold the object count
more, since they are rare.
"""

from typing import Final

import torch
from torch import Tensor

from models.train.render import Clips, Renderer
from models.vae import LinearCodec

FIT_SEED: Final = 20_000
OBJECT_WEIGHT: Final = 6.0


def patches_of(codec: LinearCodec, frames_NT3HW: Tensor) -> Tensor:
    """Flattened patches [M, values] of clips, in the codec's own order (frame, row, column, channel)."""
    count, frames, _, height, width = frames_NT3HW.shape
    time, side = codec.config.frames, codec.config.side
    split = frames_NT3HW.reshape(count, frames // time, time, 3, height // side, side, width // side, side)
    return split.permute(0, 1, 4, 6, 2, 5, 7, 3).reshape(-1, codec.config.patch_values)


def patch_weights(codec: LinearCodec, clips: Clips) -> Tensor:
    """How much each patch counts in the fit [M]: more where the object is."""
    cover = clips.masks[:, :, None].expand(-1, -1, 3, -1, -1)
    return 1 + OBJECT_WEIGHT * (patches_of(codec, cover).mean(dim=1) > 0.05).float()


@torch.no_grad()
def fit_codec(renderer: Renderer, *, clips: int = 512, frames: int = 24, seed: int = FIT_SEED) -> LinearCodec:
    """A codec fitted on freshly rendered clips; the same seed gives the same codec."""
    generator = torch.Generator().manual_seed(seed)
    codec = LinearCodec()
    values = codec.config.patch_values
    total, weighted, products = torch.zeros((), dtype=torch.float64), torch.zeros(values), torch.zeros(values, values)
    centre = torch.full((values,), 0.5)
    for _ in range(max(1, clips // 32)):
        batch = renderer.clips(32, frames, switch_share=0.4, generator=generator)
        weight = patch_weights(codec, batch).cpu()
        patches = patches_of(codec, batch.frames).cpu() - centre
        total = total + weight.sum()
        weighted += (patches * weight[:, None]).sum(dim=0)
        products += (patches * weight[:, None]).T @ patches
    mean = weighted / total
    covariance = (products / total - torch.outer(mean, mean)).double()
    variances, directions = torch.linalg.eigh(covariance)
    order = torch.argsort(variances, descending=True)[: codec.config.channels]
    basis = directions[:, order].T
    # An eigenvector's sign is arbitrary: make the largest entry positive, so that fits agree between machines.
    basis = basis * torch.sign(basis.gather(1, basis.abs().argmax(dim=1, keepdim=True)))
    scale = variances[order].clamp(min=1e-8).pow(0.25)
    codec.mean.copy_((mean + centre).float())
    codec.encode_matrix.copy_((basis / scale[:, None]).float())
    codec.decode_matrix.copy_((basis * scale[:, None]).T.float())
    return codec


@torch.no_grad()
def encode_clips(codec: LinearCodec, frames_NT3HW: Tensor) -> Tensor:
    """Latents [N, T/4, C, H/8, W/8] of a batch of clips."""
    count, frames = frames_NT3HW.shape[:2]
    latents: Tensor = codec.encode(frames_NT3HW.flatten(0, 1))
    split: Tensor = latents.unflatten(0, (count, frames // codec.config.frames))
    return split


@torch.no_grad()
def decode_latents(codec: LinearCodec, latents_NFCHW: Tensor) -> Tensor:
    """Frames [N, 4F, 3, H, W] of latents, one latent frame at a time as the stream decodes."""
    clips = []
    for latents in latents_NFCHW:
        state = codec.start()
        parts = []
        for latent in latents:
            pixels, state = codec.decode(latent, state)
            parts.append(pixels)
        clips.append(torch.cat(parts))
    return torch.stack(clips)


def psnr(frames: Tensor, target: Tensor) -> float:
    """Peak signal to noise ratio in decibels of pixels in [0,1]."""
    return float(-10 * torch.log10((frames - target).square().mean()))
