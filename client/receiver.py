"""The receiving half of the protocol without a socket: messages in, checked messages and chunks out.

Knows what the server may send, and in which order; nothing of tasks, time-outs or files. Invariant: the chunks it
gives out have growing sequence numbers, also over several connections of one session; what is missing between them is
counted unless the server took it back or passed it over, what comes again is counted and thrown away.
"""

import base64

from client.chunk import Chunk
from client.errors import ProtocolViolation
from service.errors import ProtocolError
from service.protocol import ServerMessage, UnknownMessage, parse_server_message
from service.protocol.server import (
    ChunkMetadata,
    MediaInit,
    SessionControlApplied,
    SessionDone,
    SessionResumed,
    VideoDiscard,
    VideoStart,
)


class Receiver:
    """Give it every message of one session, in order, and say when its connection is another.

    Raises (all methods):
        ProtocolViolation: the server broke the protocol; the connection is of no more use.
    """

    def __init__(self) -> None:
        self.info: VideoStart | None = None
        self.chunks = 0
        self.missing = 0
        self.duplicated = 0
        self.last_sequence: int | None = None  # of the last chunk that came whole
        self._expected_sequence = 0
        self._reconnected = False
        self._announced: ChunkMetadata | None = None
        self._init = b""

    def begin_after(self, sequence: int) -> None:
        """The session is gone on with: chunks up to this one are here, or are not wanted."""
        self.last_sequence = sequence
        self._expected_sequence = sequence + 1

    def reconnected(self) -> None:
        """What follows comes over another connection; a chunk that was half here comes again."""
        self._announced = None
        self._reconnected = True

    def text(self, text: str) -> ServerMessage | UnknownMessage:
        """A text message. Metadata of a chunk is returned too; its chunk follows with the next binary message."""
        try:
            message = parse_server_message(text)
        except ProtocolError as error:
            raise ProtocolViolation(f"expected a message of the protocol, got {error} [{error.field}]") from error
        if self._announced is not None:
            raise ProtocolViolation(
                f"expected the {self._announced.byte_length} bytes of chunk {self._announced.sequence}, "
                f"got a {message.type} message"
            )
        match message:
            case VideoStart():
                self._start(message)
            case MediaInit():
                self._init = _init_segment(message)
            case ChunkMetadata():
                self._announce(message)
            case VideoDiscard():
                self._discard(message)
            case SessionControlApplied(action="seek_live"):
                self._expected_sequence = max(self._expected_sequence, message.sequence)
            case SessionResumed():
                self._resume(message)
            case SessionDone():
                self._count_missing_before(message.chunks)
        return message

    def binary(self, payload: bytes, received: float) -> Chunk | None:
        """A binary message, whole at second `received`; None if it is a chunk that was here before."""
        metadata, self._announced = self._announced, None
        if metadata is None or self.info is None:
            raise ProtocolViolation(f"expected a text message, got {len(payload)} bytes that nothing announced")
        chunk = Chunk(metadata, payload, self.info.width, self.info.height, received, init=self._init)
        if chunk.sequence < self._expected_sequence:
            self.duplicated += 1
            return None
        self._count_missing_before(chunk.sequence)
        self._expected_sequence = chunk.sequence + 1
        self.last_sequence = chunk.sequence
        self.chunks += 1
        return chunk

    def _start(self, message: VideoStart) -> None:
        if self.info is not None and not self._reconnected:
            raise ProtocolViolation("expected one video.start, got a second")
        if min(message.width, message.height) < 1 or not message.fps > 0 or message.next_sequence < 0:
            raise ProtocolViolation(
                "expected a size and a rate above 0 and a number from 0, got "
                f"{message.width}x{message.height} at {message.fps} fps, next is {message.next_sequence}"
            )
        if self.info is None and self.last_sequence is None:
            self._expected_sequence = max(self._expected_sequence, message.next_sequence)
        self.info = message

    def _announce(self, message: ChunkMetadata) -> None:
        if self.info is None:
            raise ProtocolViolation("expected video.start before the first chunk, got video.chunk_metadata")
        self._announced = message

    def _discard(self, message: VideoDiscard) -> None:
        if self.info is None or not 0 <= message.from_sequence <= message.next_sequence:
            raise ProtocolViolation(
                "expected video.discard after video.start, with numbers from 0, got "
                f"{message.from_sequence} and {message.next_sequence}"
            )
        self._count_missing_before(message.from_sequence)
        self._expected_sequence = max(self._expected_sequence, message.next_sequence)

    def _resume(self, message: SessionResumed) -> None:
        """What cannot be sent again is missing."""
        if message.missing is not None:
            self._count_missing_before(message.missing.to_sequence + 1)

    def _count_missing_before(self, sequence: int) -> None:
        self.missing += max(0, sequence - self._expected_sequence)
        self._expected_sequence = max(self._expected_sequence, sequence)


def _init_segment(message: MediaInit) -> bytes:
    try:
        init = base64.b64decode(message.init or "", validate=True)
    except ValueError as error:
        raise ProtocolViolation(f"expected an init segment in base64: {error}") from error
    if message.format == "m4s" and not init:
        raise ProtocolViolation("expected media.init of format m4s with an init segment, got none")
    return init
