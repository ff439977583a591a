"""One chunk as the client holds it: the server's metadata, the encoded frames, and the way to pixels.

Knows Pillow and numpy; nothing of sockets or sessions. Invariant: a Chunk that exists is whole: its frames tile its
payload without gap or overlap, and there are as many as its metadata says.
"""

import hashlib
import io
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from client.errors import ProtocolViolation
from service.protocol.server import ChunkMetadata

LOSSLESS_FORMATS = frozenset({"png", "raw"})
Pixels = npt.NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class Chunk:
    """A block's media. `received` is the time.monotonic() second at which its last byte was here."""

    metadata: ChunkMetadata
    payload: bytes
    width: int
    height: int
    received: float
    init: bytes = field(default=b"", repr=False)
    """With format `m4s`: what a decoder has to have before the payload."""
    _pixels: Pixels | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_layout(self.metadata, len(self.payload))

    @property
    def sequence(self) -> int:
        return self.metadata.sequence

    @property
    def pts(self) -> float:
        """Media seconds of the first frame."""
        return self.metadata.pts

    @property
    def num_frames(self) -> int:
        """Frames that are here."""
        return self.metadata.num_frames

    @property
    def dropped_frames(self) -> int:
        """Frames that the server left out, because the session asked for that and its connection was slow."""
        return self.metadata.dropped_frames

    @property
    def end_pts(self) -> float:
        """Media seconds at which the chunk is over, whether all of its frames are here or not."""
        return self.pts + (self.num_frames + self.dropped_frames) / self.metadata.fps

    @property
    def frames_sha256(self) -> str:
        """Hash of the RGB24 frames before they were encoded, as the server made them."""
        return self.metadata.frames_sha256

    @property
    def frames(self) -> tuple[bytes, ...]:
        """The encoded frames, in the order in which they are shown; with format `m4s`, parts of one fragment."""
        return tuple(self.payload[part.offset : part.offset + part.length] for part in self.metadata.frames)

    def numpy(self) -> Pixels:
        """The frames as RGB pixels, uint8 [N, height, width, 3]; decoded at the first call, do not write to them.

        N is `num_frames`, which is 0 where all of them were dropped.

        Raises:
            ProtocolViolation: a frame cannot be decoded, or has another size than the session.
        """
        if self._pixels is None:
            pixels = self._decoded_fragment() if self.metadata.format == "m4s" else self._decoded_frames()
            pixels.setflags(write=False)
            self._pixels = pixels
        return self._pixels

    def _decoded_frames(self) -> Pixels:
        decode = self._raw_frame if self.metadata.format == "raw" else self._decoded_frame
        pictures = [decode(frame) for frame in self.frames]
        return np.stack(pictures) if pictures else self._nothing()

    def _decoded_fragment(self) -> Pixels:
        # Here, so that who never sees a fragment does not wait for the video library.
        from service.media import FragmentError, decode_fragment

        if not self.num_frames:
            return self._nothing()
        try:
            pixels = decode_fragment(self.init, self.payload)
        except FragmentError as error:
            raise ProtocolViolation(f"chunk {self.sequence}: {error}") from error
        expected = (self.num_frames, self.height, self.width, 3)
        if pixels.shape != expected:
            raise ProtocolViolation(f"chunk {self.sequence}: expected {list(expected)}, got {list(pixels.shape)}")
        return pixels

    def _nothing(self) -> Pixels:
        return np.empty((0, self.height, self.width, 3), dtype=np.uint8)

    def verify(self) -> None:
        """Hold the pixels against `frames_sha256`, where no frame was dropped and the format is lossless.

        Raises:
            ProtocolViolation: they are not the pixels that the server hashed.
        """
        if self.metadata.format not in LOSSLESS_FORMATS or self.dropped_frames:
            return
        found = hashlib.sha256(self.numpy().tobytes()).hexdigest()
        if found != self.frames_sha256:
            raise ProtocolViolation(
                f"chunk {self.sequence}: expected frames with SHA-256 {self.frames_sha256}, got {found}"
            )

    def _raw_frame(self, frame: bytes) -> Pixels:
        size = self.width * self.height * 3
        if len(frame) != size:
            raise ProtocolViolation(f"chunk {self.sequence}: expected a raw frame of {size} bytes, got {len(frame)}")
        return np.frombuffer(frame, dtype=np.uint8).reshape(self.height, self.width, 3)

    def _decoded_frame(self, frame: bytes) -> Pixels:
        kind = self.metadata.format
        try:
            with Image.open(io.BytesIO(frame), formats=[kind]) as image:
                if image.size != (self.width, self.height):
                    raise ProtocolViolation(
                        f"chunk {self.sequence}: expected frames of {self.width}x{self.height}, got {image.size}"
                    )
                return np.asarray(image.convert("RGB"), dtype=np.uint8)
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise ProtocolViolation(f"chunk {self.sequence}: a {kind} frame cannot be decoded: {error}") from error


def check_layout(metadata: ChunkMetadata, payload_bytes: int) -> None:
    """Hold what a chunk's metadata says against itself and the size of its binary message.

    Raises:
        ProtocolViolation: naming the chunk, what was expected and what came.
    """
    name = f"chunk {metadata.sequence}"
    if payload_bytes != metadata.byte_length:
        raise ProtocolViolation(f"{name}: expected {metadata.byte_length} bytes, got {payload_bytes}")
    if metadata.num_frames < 0 or metadata.dropped_frames < 0 or metadata.num_frames + metadata.dropped_frames < 1:
        raise ProtocolViolation(
            f"{name}: expected frames, or dropped ones, got {metadata.num_frames} and {metadata.dropped_frames}"
        )
    if len(metadata.frames) != metadata.num_frames:
        raise ProtocolViolation(f"{name}: expected {metadata.num_frames} frames, got {len(metadata.frames)}")
    if not metadata.fps > 0:
        raise ProtocolViolation(f"{name}: expected a rate above 0, got {metadata.fps} fps")
    end = 0
    for number, part in enumerate(metadata.frames):
        if part.offset != end or part.length < 1:
            raise ProtocolViolation(
                f"{name}, frame {number}: expected offset {end} and some bytes, got {part.offset} and {part.length}"
            )
        end += part.length
    if end != payload_bytes:
        raise ProtocolViolation(f"{name}: expected frames of {payload_bytes} bytes in all, got {end}")
