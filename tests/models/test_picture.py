"""Picture files as pixels: formats, turns, scaling, bounds, and every kind of damage."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.errors import OpeningError
from models.picture import MAX_PICTURE_PIXELS, read_picture
from models.vae import RGB24
from tests.models.pictures import encoded, halves, noise, png

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def near(pixel: RGB24, colour: tuple[int, int, int], *, within: int = 8) -> bool:
    return bool((np.abs(pixel.astype(int) - colour) <= within).all())


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_a_picture_of_the_size_is_taken_as_it_is(form: str, options: dict[str, bool]) -> None:
    picture = noise(24, 16)
    assert np.array_equal(read_picture(encoded(picture, form, **options), width=24, height=16), picture)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("scale", [1, 2, 5, 9])
def test_every_format_is_scaled(form: str, scale: int) -> None:
    picture = read_picture(encoded(halves(32 * scale, 16 * scale), form), width=32, height=16)
    assert picture.shape == (16, 32, 3)
    assert picture.dtype == np.uint8
    assert near(picture[12, 4], RED)
    assert near(picture[12, 28], BLUE)
    assert near(picture[1, 4], GREEN)


@pytest.mark.parametrize(("width", "height"), [(64, 16), (16, 64), (8, 8), (200, 3), (1, 1)])
def test_the_middle_is_kept_whatever_the_shape(width: int, height: int) -> None:
    picture = np.full((height, width, 3), 90, dtype=np.uint8)
    picture[height // 2, width // 2] = 90
    assert near(read_picture(png(picture), width=16, height=16)[8, 8], (90, 90, 90))
    # What hangs over on both sides is cut off: the marks at the ends are not in the picture.
    if max(width, height) >= 2 * min(width, height) > 2:
        picture[:, 0] = picture[:, -1] = picture[0] = picture[-1] = 255
        long = picture[1:-1] if width > height else picture[:, 1:-1]
        shown = read_picture(png(np.ascontiguousarray(long)), width=16, height=16)
        assert int(shown.max()) < 120


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_camera_says(orientation: int) -> None:
    upright = Image.fromarray(halves(64, 64))
    # The turn that a camera makes is undone by the one that its orientation asks for.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    lying = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    for form in ("JPEG", "PNG", "WEBP"):
        file = io.BytesIO()
        lying.save(file, form, exif=exif)
        picture = read_picture(file.getvalue(), width=16, height=16)
        assert [near(picture[12, 2], RED, within=30), near(picture[12, 13], BLUE, within=30)] == [True, True]
        assert near(picture[1, 8], GREEN, within=30)


def test_a_turned_photograph_loses_nothing_to_fast_unpacking() -> None:
    """A JPEG may be unpacked at a fraction of its size: measured against what is wanted after the turn."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = np.tile(np.repeat(np.array([0, 255], dtype=np.uint8), 4), 32)
    stripes = np.repeat(np.repeat(picture[None, :, None], 64, axis=0), 3, axis=2)
    file = io.BytesIO()
    Image.fromarray(stripes).save(file, "JPEG", exif=exif, quality=95)
    shown = read_picture(file.getvalue(), width=64, height=256)
    assert np.abs(np.diff(shown[:, 32, 0].astype(int))).max() > 200


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_colour_becomes_three_bytes(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((16, 16), 200 * 256 + 17, dtype=np.uint16))
    else:
        image = Image.new("L", (16, 16), 200).convert("RGB").convert(mode, palette=Image.Palette.ADAPTIVE)
    file = io.BytesIO()
    image.save(file, "JPEG" if mode == "CMYK" else "PNG")
    picture = read_picture(file.getvalue(), width=16, height=16)
    assert picture.shape == (16, 16, 3)
    assert mode == "1" or near(picture[8, 8], (200, 200, 200))


def test_what_is_transparent_is_black() -> None:
    image = Image.new("RGBA", (16, 16), (255, 255, 255, 0))
    image.paste((255, 0, 0, 255), (0, 0, 16, 8))
    file = io.BytesIO()
    image.save(file, "PNG")
    picture = read_picture(file.getvalue(), width=16, height=16)
    assert near(picture[4, 8], RED)
    assert near(picture[12, 8], (0, 0, 0))


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large; its pixels would all be zero."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(4096))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(8000, 5001), (40_000_001, 1), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_that_is_too_large_is_refused_unopened(width: int, height: int) -> None:
    with pytest.raises(OpeningError) as caught:
        read_picture(bomb(width, height), width=16, height=16)
    assert caught.value.code in ("picture_too_large", "picture_invalid")
    assert width * height > 2**40 or "at most 40 million pixels" in str(caught.value)
    assert MAX_PICTURE_PIXELS == 40_000_000


def test_the_largest_that_is_allowed_is_judged_by_its_content() -> None:
    with pytest.raises(OpeningError, match="whole PNG, JPEG or WebP") as caught:
        read_picture(bomb(8000, 5000), width=16, height=16)
    assert caught.value.code == "picture_invalid"


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused(form: str) -> None:
    with pytest.raises(OpeningError, match="PNG, JPEG or WebP"):
        read_picture(encoded(noise(16, 16), form), width=16, height=16)


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", bytes(999)]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(OpeningError) as caught:
        read_picture(data, width=16, height=16)
    assert (caught.value.code, caught.value.field) == ("picture_invalid", "picture")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_short_is_refused(form: str, share: float) -> None:
    data = encoded(noise(64, 64), form)
    with pytest.raises(OpeningError):
        read_picture(data[: int(share * len(data))], width=16, height=16)


WHOLE = {form: encoded(noise(24, 24), form) for form in ("PNG", "JPEG", "WEBP")}


@pytest.mark.filterwarnings("ignore")  # the library warns of what it can still read
@settings(max_examples=150, deadline=None)
@given(
    form=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_whatever_comes_is_a_picture_or_an_error(form: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(WHOLE[form])
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        outcome = str(read_picture(bytes(data), width=16, height=16).shape)
    except OpeningError as error:
        outcome = error.code
    assert outcome in ("(16, 16, 3)", "picture_invalid", "picture_too_large")
