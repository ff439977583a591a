"""One block as one H.264 fragment that begins with a key frame, and the init segment that all fragments share.

Knows pixels, x264 and MP4 fragments; nothing of sessions. Invariants: a fragment can be decoded with the init segment
alone, whatever came before it; the init segment is a function of size and rate, so that it stays through changes of
quality; frame k of a fragment that begins at frame n has the time stamp (n + k) / fps, exactly.

FFmpeg's muxer of fragments holds its newest frame back until it hears of the next, so each block has a muxer of its
own, whose headers are dropped; the fragments of several such muxers are one stream.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from service.media.boxes import BoxError, boxes_in, find_box

Frames = npt.NDArray[np.uint8]
"""[N, height, width, 3], RGB."""

# Readers guess the colour matrix of a small picture wrongly unless it is stated. 1 is BT.709 in each of these fields.
_BT709 = 1
# Without `make_non_negative` the muxer moves its first frame to 0, wherever that stands in the video.
_CONTAINER = {
    "movflags": "empty_moov+default_base_moof+frag_keyframe+frag_discont",
    "use_editlist": "0",
    "avoid_negative_ts": "make_non_negative",
}
# stitchable: nothing in the stream's head depends on the quality. Without B-frames decode order is display order.
_ENCODER = {"preset": "veryfast", "bf": "0", "g": "1000", "x264-params": "stitchable=1:scenecut=0"}
_HEAD = ("ftyp", "moov")
_WORST_CRF, _CRF_PER_QUALITY = 51.0, 0.36


class FragmentError(ValueError):
    """Pixels that cannot be encoded, or bytes that are no fragment."""


@dataclass(frozen=True, slots=True)
class InitSegment:
    """What a decoder has to have before any fragment. `codec` as a browser names it: avc1 and six digits."""

    codec: str
    data: bytes

    @property
    def mime(self) -> str:
        return f'video/mp4; codecs="{self.codec}"'


@dataclass(frozen=True, slots=True)
class FragmentFacts:
    """What a fragment says of itself. `ticks` is the time stamp of its first frame, in the init segment's unit."""

    number: int
    ticks: int
    sizes: tuple[int, ...]
    """Bytes of each encoded frame."""

    @property
    def frames(self) -> int:
        return len(self.sizes)


def crf_of(quality: int) -> float:
    """x264's constant rate factor for a quality of 1 to 100: 85 gives 20.4, 100 gives 15."""
    return _WORST_CRF - _CRF_PER_QUALITY * quality


def init_segment(*, width: int, height: int, fps: int) -> InitSegment:
    """The head of every fragment of this size (even numbers) and rate. Raises FragmentError."""
    buffer = io.BytesIO()
    with _open(buffer, {}) as container:
        _add_stream(container, width=width, height=height, fps=fps, quality=85)
        container.start_encoding()
    data = _of_kinds(buffer.getvalue(), _HEAD)
    at = data.index(b"avcC") + 5
    return InitSegment(f"avc1.{data[at : at + 3].hex()}", data)


def encode_fragment(frames: Frames, *, first: int, fps: int, quality: int, number: int) -> tuple[list[int], bytes]:
    """Encode a block that is shown from frame `first` of the video on.

    Args:
        frames: uint8 [N, height, width, 3], N at least 1, height and width even.
        number: that of the fragment; each is higher than the one before, 0 is the lowest.

    Returns:
        The parts of the fragment in bytes, one a frame, and the fragment: the first part has its head, too.

    Raises:
        FragmentError: the pixels cannot be encoded.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or len(frames) == 0 or frames.shape[3] != 3:
        raise FragmentError(f"expected uint8 frames [N, height, width, 3], got {frames.dtype} {list(frames.shape)}")
    if first < 0 or number < 0:
        raise FragmentError(f"expected a first frame and a number from 0, got {first} and {number}")
    buffer, painter = io.BytesIO(), VideoReformatter()
    height, width = frames.shape[1:3]
    with _open(buffer, {"fragment_index": str(number + 1)}) as container:
        stream = _add_stream(container, width=width, height=height, fps=fps, quality=quality)
        for index, pixels in enumerate(frames, start=first):
            container.mux(stream.encode(as_yuv(pixels, painter, index=index, rate=Fraction(fps))))
        container.mux(stream.encode(None))
    fragment = _of_kinds(buffer.getvalue(), ("moof", "mdat"))
    sizes = fragment_facts(fragment).sizes
    if len(sizes) != len(frames):
        raise FragmentError(f"expected a fragment of {len(frames)} frames, got one of {len(sizes)}")
    return [len(fragment) - sum(sizes[1:]), *sizes[1:]], fragment


def as_yuv(pixels: npt.NDArray[np.uint8], painter: VideoReformatter, *, index: int, rate: Fraction) -> av.VideoFrame:
    """A picture (uint8 [height, width, 3], RGB) as the encoder takes it, with number `index` as its time stamp."""
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    picture = painter.reformat(
        picture, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    picture.pts, picture.time_base = index, 1 / rate
    return picture


def decode_fragment(init: bytes, fragment: bytes) -> Frames:
    """The pictures of one fragment, or of several behind each other, uint8 [N, height, width, 3].

    Raises:
        FragmentError: they cannot be decoded.
    """
    try:
        with av.open(io.BytesIO(init + fragment), "r", format="mp4") as container:
            pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    except (av.FFmpegError, IndexError) as error:
        raise FragmentError(f"expected a fragment that can be decoded: {error}") from error
    if not pictures:
        raise FragmentError("expected a fragment with frames, got one without")
    return cast(Frames, np.stack(pictures))


def fragment_facts(fragment: bytes) -> FragmentFacts:
    """Read a fragment's head. Raises FragmentError where it is not one fragment of one track, as made here."""
    try:
        kinds = [box.kind for box in boxes_in(fragment)]
        if kinds != ["moof", "mdat"]:
            raise FragmentError(f"expected the boxes moof and mdat, got {kinds}")
        number = _number_at(fragment, find_box(fragment, "moof", "mfhd").body + 4)
        sizes = tuple(_sizes(fragment))
        ticks = struct.unpack_from(">Q", fragment, _time_at(fragment))[0]
    except (BoxError, struct.error) as error:
        raise FragmentError(f"expected a fragment: {error}") from error
    return FragmentFacts(number, ticks, sizes)


def shifted(fragment: bytes, *, ticks: int, number: int) -> bytes:
    """The same fragment at another time and with another number; the frames are not touched. Raises FragmentError."""
    fragment_facts(fragment)
    changed = bytearray(fragment)
    struct.pack_into(">Q", changed, _time_at(fragment), ticks)
    struct.pack_into(">I", changed, find_box(fragment, "moof", "mfhd").body + 4, number + 1)
    return bytes(changed)


def ticks_per_second(init: bytes) -> int:
    """The unit of the time stamps in fragments. Raises FragmentError."""
    try:
        box = find_box(init, "moov", "trak", "mdia", "mdhd")
    except BoxError as error:
        raise FragmentError(f"expected an init segment: {error}") from error
    return _number_at(init, box.body + (20 if init[box.body] else 12))


def _number_at(data: bytes, place: int) -> int:
    number: int = struct.unpack_from(">I", data, place)[0]
    return number


def _time_at(fragment: bytes) -> int:
    """Where the time stamp of the first frame stands, 64 bits of it."""
    box = find_box(fragment, "moof", "traf", "tfdt")
    if fragment[box.body] != 1:
        raise BoxError("expected a time stamp of 64 bits")
    return box.body + 4


def _sizes(fragment: bytes) -> Iterator[int]:
    """Of the frames: each has its own in the box `trun`, unless all have the one in `tfhd`."""
    run, head = find_box(fragment, "moof", "traf", "trun"), find_box(fragment, "moof", "traf", "tfhd")
    flags, usual = _number_at(fragment, run.body) & 0xFFFFFF, _number_at(fragment, head.body) & 0xFFFFFF
    count = _number_at(fragment, run.body + 4)
    place = run.body + 8 + 4 * (bool(flags & 0x1) + bool(flags & 0x4))
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    if count < 1 or place + 4 * len(fields) * count != run.end or not (flags & 0x200 or usual & 0x10):
        raise BoxError("expected frames, each with a size")
    for index in range(count):
        if flags & 0x200:
            yield _number_at(fragment, place + 4 * (len(fields) * index + fields.index(0x200)))
        else:
            yield _number_at(
                fragment, head.body + 8 + 8 * bool(usual & 0x1) + 4 * sum(bool(usual & bit) for bit in (0x2, 0x8))
            )


def _open(buffer: io.BytesIO, options: dict[str, str]) -> OutputContainer:
    return av.open(buffer, "w", format="mp4", options=_CONTAINER | options)


def _add_stream(container: OutputContainer, *, width: int, height: int, fps: int, quality: int) -> VideoStream:
    if width <= 0 or height <= 0 or width % 2 or height % 2:
        raise FragmentError(f"expected an even width and height above 0, got {width}x{height}")
    stream = container.add_stream("libx264", rate=fps, options=_ENCODER | {"crf": f"{crf_of(quality):.2f}"})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.time_base = Fraction(1, fps)
    codec = stream.codec_context
    codec.time_base = Fraction(1, fps)
    codec.thread_count = 1
    state_colours(codec)
    return stream


def state_colours(codec: av.VideoCodecContext) -> None:
    """Write into the stream what the colours are."""
    codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
    codec.color_range = ColorRange.MPEG


def _of_kinds(data: bytes, kinds: tuple[str, ...]) -> bytes:
    return b"".join(data[box.begin : box.end] for box in boxes_in(data) if box.kind in kinds)
