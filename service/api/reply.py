"""One message on its way to a client, with what has to happen together with it.

It knows nothing of sockets or sessions. Invariant: a reply that is thinned has no bytes left; what is left of it
still announces its (empty) binary message.
"""

from dataclasses import dataclass

from service.errors import CloseCode
from service.protocol import ServerMessage
from service.protocol.server import ChunkMetadata


@dataclass(frozen=True, slots=True)
class Reply:
    """One message to the client; with `payload`, a binary message follows it at once; with `close`, the end."""

    message: ServerMessage
    payload: bytes | None = None
    close: CloseCode | None = None


def thin(chunk: Reply) -> Reply:
    """The chunk without its frames: number, time and events stay, so that nothing is missing without a word."""
    metadata = chunk.message
    assert isinstance(metadata, ChunkMetadata)
    left_out = metadata.dropped_frames + metadata.num_frames
    thinned = metadata.model_copy(update={"frames": (), "num_frames": 0, "byte_length": 0, "dropped_frames": left_out})
    return Reply(thinned, payload=b"")
