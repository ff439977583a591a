"""A picture file as pixels of a session's size: what a stream can begin with.

Shape: [H, W, 3] RGB24. PNG, JPEG and WebP, judged by their content and never by a name. The size is read from the
head of the file and bounded before anything is unpacked, so a small file cannot become a large picture. Turned as its
EXIF says, then scaled and cut about its middle. Whatever bytes come, the answer is pixels or an OpeningError.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

from models.errors import OpeningError
from models.vae import RGB24

MAX_PICTURE_PIXELS = 40_000_000
FORMATS = ("PNG", "JPEG", "WEBP")
_TURNED = range(5, 9)
"""EXIF orientations that swap width and height."""
_ORIENTATION = 0x0112
# What the image library raises for files that are damaged, cut short or made to harm.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error, zlib.error)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_picture(data: bytes, *, width: int, height: int) -> RGB24:
    """The picture, filling `width` x `height`. Raises OpeningError: `picture_invalid` or `picture_too_large`."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size)
            return _fitted(image, width=width, height=height)
    except _BOMB as error:
        raise OpeningError(_too_large(str(error)), field="picture", code="picture_too_large") from error
    except OpeningError:
        raise
    except _DAMAGED as error:
        found = f"{len(data)} bytes that cannot be read ({error})"
        message = f"a picture must be a whole PNG, JPEG or WebP file, not {found[:200]}"
        raise OpeningError(message, field="picture") from error


def fit(image: Image.Image, *, width: int, height: int) -> RGB24:
    """An RGB image scaled until it fills the size, what then hangs over cut off on both sides."""
    fitted = ImageOps.fit(image, (width, height), method=Image.Resampling.LANCZOS)
    pixels: RGB24 = np.array(fitted, dtype=np.uint8)
    return pixels


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PICTURE_PIXELS:
        raise OpeningError(_too_large(f"{width}x{height}"), field="picture", code="picture_too_large")


def _too_large(found: str) -> str:
    return f"a picture must have at most {MAX_PICTURE_PIXELS // 1_000_000} million pixels, not {found[:160]}"


def _fitted(image: Image.Image, *, width: int, height: int) -> RGB24:
    turned = image.getexif().get(_ORIENTATION) in _TURNED
    # A JPEG is unpacked at a half, a quarter or an eighth where that is still no smaller than what is wanted.
    image.draft(None, (height, width) if turned else (width, height))
    return fit(_as_rgb(ImageOps.exif_transpose(image)), width=width, height=height)


def _as_rgb(image: Image.Image) -> Image.Image:
    """Eight bits a channel, what is transparent upon black."""
    if image.mode.startswith("I"):  # 16 bits of grey
        return Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
    return image.convert("RGB")
