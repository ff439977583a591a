"""The beginning of a stream that is given, not made: a picture held still, or a clip, as latents of whole blocks.

Shapes: T frames, F latent frames of a block, C channels, H and W pixels or latent cells.
Given blocks go through decoder and clean pass like any other, so nothing after them can tell. How many frames a block
stands for is the decoder's to say: 9 and then 12 where the first latent frame is one frame, else 12. The models were
not trained to go on from frames they did not make. Knows no files and no streams.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cache.window import WindowSpec
from models.errors import OpeningError
from models.journal import MAX_OPENING_BLOCKS
from models.parts import Parts
from models.stream import LatentSource, read_block
from models.vae import RGB24, ClipEncoder, StreamDecoder


@dataclass(frozen=True, slots=True)
class Opening:
    """Latents of the first blocks, [F, C, H, W] each, in the dtype they are stored in and in host memory."""

    blocks: tuple[Tensor, ...]


def frames_of(decoder: StreamDecoder, spec: WindowSpec, *, blocks: int) -> int:
    """How many frames the first `blocks` blocks of a scene stand for."""
    return sum(decoder.frame_count(index) for index in range(blocks * spec.block_frames))


def blocks_filled(decoder: StreamDecoder, spec: WindowSpec, *, frames: int) -> int:
    """How many blocks, from a scene's beginning, so many frames fill; at most what a stream may be given."""
    filled = 0
    while filled < MAX_OPENING_BLOCKS and frames_of(decoder, spec, blocks=filled + 1) <= frames:
        filled += 1
    return filled


def picture_opening(parts: Parts, picture_HW3: RGB24) -> Opening:
    """One block: the picture, held for all its frames. Raises OpeningError."""
    frames = frames_of(parts.decoder, parts.spec, blocks=1)
    return clip_opening(parts, np.broadcast_to(picture_HW3, (frames, *picture_HW3.shape)))


@torch.inference_mode()
def clip_opening(parts: Parts, clip_THW3: RGB24) -> Opening:
    """As many blocks as the clip fills; frames beyond the last whole one are left out. Raises OpeningError."""
    encoder, video = parts.decoder, parts.preset.video
    if not isinstance(encoder, ClipEncoder):
        message = f"model {parts.preset.name} cannot start from a picture or a clip: its decoder does not encode"
        raise OpeningError(message, field="picture", code="opening_unsupported")
    if clip_THW3.ndim != 4 or clip_THW3.shape[1:] != (video.height, video.width, 3):
        expected = f"frames of shape [T, {video.height}, {video.width}, 3]"
        raise OpeningError(f"a clip must be {expected}, not {list(clip_THW3.shape)}", field="clip", code="clip_invalid")
    blocks = blocks_filled(encoder, parts.spec, frames=len(clip_THW3))
    if not blocks:
        least = frames_of(encoder, parts.spec, blocks=1)
        message = f"a clip must have at least {least} frames, which fill one block, not {len(clip_THW3)}"
        raise OpeningError(message, field="clip", code="clip_invalid")
    used = clip_THW3[: frames_of(encoder, parts.spec, blocks=blocks)]
    pixels = torch.from_numpy(np.ascontiguousarray(used)).permute(0, 3, 1, 2).float() / 255.0
    latents = encoder.encode(pixels).to(parts.latent_dtype).cpu()
    assert latents.shape == (blocks * parts.spec.block_frames, *parts.block_shape[1:]), latents.shape
    return Opening(tuple(block.clone() for block in latents.chunk(blocks)))


def stored_opening(parts: Parts, latents: LatentSource, *, blocks: int) -> Opening:
    """The opening of a stream that is restored, from where its blocks are kept. Raises RestoreError."""
    found = (read_block(latents, block, shape=parts.block_shape) for block in range(blocks))
    return Opening(tuple(record.latents.to("cpu", parts.latent_dtype) for record in found))
