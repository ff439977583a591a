"""What a file is by its first bytes: a picture, a clip, or nothing that a video can begin with.

It knows bytes; nothing of names and of what a client says that a file is. Invariant: a kind is only ever said of a
format that is taken here, so nothing else reaches a decoder.
"""

from enum import StrEnum


class Kind(StrEnum):
    PICTURE = "picture"
    CLIP = "clip"


_MOVIES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"})
_MATROSKA = b"\x1a\x45\xdf\xa3"
HEAD_BYTES = 16
"""That `kind_of` looks at."""


def kind_of(data: bytes) -> Kind | None:
    """PNG, JPEG and WebP are pictures; MP4, QuickTime, Matroska, WebM and AVI are clips. A GIF and an SVG are none."""
    if data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or _is_riff(data, b"WEBP"):
        return Kind.PICTURE
    if data[4:8] in _MOVIES or data.startswith(_MATROSKA) or _is_riff(data, b"AVI "):
        return Kind.CLIP
    return None


def _is_riff(data: bytes, form: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == form
