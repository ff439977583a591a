"""A file from a stranger, decoded once to see whether it is whole: a program of its own, bounded in memory and time.

`python -m service.uploads.judging` reads the file on stdin and says one line of JSON: its size in pixels, or what is
wrong with it. It knows Pillow and PyAV and nothing of the service. Invariant: whatever the file does to its decoder, it
does it to this process only, which has no secrets, no network and little memory.
"""

import io
import json
import resource
import struct
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

from service.uploads.kinds import Kind, kind_of

MAX_PIXELS = 40_000_000
MEMORY_BYTES = 1 << 30
"""Of address space beyond what the libraries take: a picture of the most pixels, four bytes each, a few times."""
CPU_SECONDS = 20
LOOKED_AT_FRAMES = 16
"""Of a clip: enough to see that it decodes; the engine reads on from there."""
_FORMATS = ("PNG", "JPEG", "WEBP")
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error, zlib.error)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def judge(data: bytes) -> dict[str, object]:
    """`kind`, `width` and `height`, or `code` and `message`."""
    kind = kind_of(data)
    try:
        match kind:
            case Kind.PICTURE:
                width, height = _picture(data)
            case Kind.CLIP:
                width, height = _clip(data)
            case None:
                message = "expected a PNG, JPEG or WebP file, or a clip as MP4, WebM, Matroska, QuickTime or AVI"
                return {"code": "picture_invalid", "message": message}
    except _TooLarge as error:
        return {"code": f"{kind}_too_large", "message": str(error)}
    except (*_BOMB, MemoryError):
        return {"code": f"{kind}_too_large", "message": f"expected at most {MAX_PIXELS} pixels"}
    except (av.FFmpegError, *_DAMAGED):
        return {"code": f"{kind}_invalid", "message": f"expected a whole {kind}: this one is damaged or cut short"}
    return {"kind": kind.value, "width": width, "height": height}


class _TooLarge(Exception):
    pass


def _picture(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        width, height = image.size
        _check(width, height)
        # Whole, but at an eighth where the format can do so: to see that it decodes takes no more.
        image.draft(None, (max(1, width // 8), max(1, height // 8)))
        image.load()
        return width, height


def _clip(data: bytes) -> tuple[int, int]:
    width = height = 0
    with av.open(io.BytesIO(data), mode="r") as container:
        if not container.streams.video:
            raise ValueError("no pictures")
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        _check(stream.codec_context.width, stream.codec_context.height)
        for seen, frame in enumerate(container.decode(stream), start=1):
            width, height = frame.width, frame.height
            _check(width, height)
            if frame.time is None:
                raise ValueError("frames without times")
            if seen >= LOOKED_AT_FRAMES:
                break
    if not width:
        raise ValueError("no frame")
    return width, height


def _check(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _TooLarge(f"expected at most {MAX_PIXELS // 10**6} million pixels, got {width}x{height}")
    if min(width, height) and Fraction(max(width, height), min(width, height)) > 1000:
        raise _TooLarge(f"expected no side a thousand times the other, got {width}x{height}")


def bound(memory_bytes: int = MEMORY_BYTES, cpu_seconds: int = CPU_SECONDS) -> None:
    """From here on, this process may take so much more memory and so much time; the system holds it to that."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text("ascii").split()[0]) if statm.exists() else 0
    space = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def main() -> None:
    data = sys.stdin.buffer.read()
    bound()
    sys.stdout.write(json.dumps(judge(data)))


if __name__ == "__main__":
    main()
