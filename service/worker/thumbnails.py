"""A small still of a session, for lists of takes: written beside its latents while the first chunks leave.

Knows pictures and files; nothing of sessions' course or of who looks at them. Invariants: a file that has its name is
whole; a still that cannot be written is logged and stops nothing, for the video does not depend on it.
"""

import logging
from pathlib import Path

from PIL import Image

from service.latent_files import unfinished_path
from service.worker.engine import Frames

logger = logging.getLogger(__name__)

CHUNKS_WITH_STILL = frozenset({0, 4})
"""The first chunk gives one at once; a later one, in which the scene has come to itself, takes its place."""
MOST_PIXELS_WIDE = 320
_QUALITY = 80


def write_thumbnail(path: Path, frames: Frames, *, sequence: int) -> None:
    """Write the still of a chunk that has one; of the others, nothing.

    Args:
        frames: uint8 [frames, height, width, 3].
    """
    if sequence not in CHUNKS_WITH_STILL or len(frames) == 0:
        return
    picture = Image.fromarray(frames[len(frames) // 2])
    picture.thumbnail((MOST_PIXELS_WIDE, MOST_PIXELS_WIDE))
    unfinished = unfinished_path(path)
    try:
        picture.save(unfinished, "JPEG", quality=_QUALITY)
        unfinished.replace(path)
    except OSError as error:
        logger.warning("the thumbnail %s cannot be written: %s", path.name, error)
