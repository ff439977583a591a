"""Files that are made to harm whoever reads them, or are simply not what they should be.

Invariant: each is small; what it would become when unpacked is not.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

PNG_HEAD = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of this size, all of it black, with as much of its pixels as a few kilobytes hold."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(min(height, 64) * (1 + min(width, 1 << 16) * 3)), 9)
    return PNG_HEAD + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def picture(kind: str, width: int = 60, height: int = 40, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def zipped_text_bomb() -> bytes:
    """A PNG whose compressed comment becomes 256 MiB."""
    text = b"comment\0\0" + zlib.compress(bytes(1 << 28), 9)
    whole = picture("PNG")
    return whole[:33] + chunk(b"zTXt", text) + whole[33:]


def gif(frames: int) -> bytes:
    """Many frames of one pixel."""
    file = io.BytesIO()
    first, *others = [Image.new("P", (1, 1), number % 256) for number in range(frames)]
    first.save(file, "GIF", save_all=True, append_images=others)
    return file.getvalue()


def lying_jpeg() -> bytes:
    """Says 65,500 x 65,500 in its head and has the data of a small one."""
    data = bytearray(picture("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def lying_webp() -> bytes:
    """An extended WebP that says 16,384 x 16,384."""
    inner = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16383).to_bytes(3, "little") * 2
    inner += picture("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(inner) + 4) + b"WEBP" + inner


SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"><text>&x;</text></svg>"""
HTML = b"<!doctype html><script>alert(1)</script>"
ZIP = b"PK\x03\x04" + bytes(64)
PDF = b"%PDF-1.7\n" + bytes(64)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
TIFF = b"II*\0" + bytes(64)
PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
CONCAT = b"ffconcat version 1.0\nfile /etc/passwd\n"
