"""Messages as bytes and back.

Knows the messages; nothing of sockets. Invariant: bytes that cannot be read raise `MalformedMessage` or
`VersionMismatch`, never anything else.
"""

from typing import TypeAlias, TypeVar, get_args

import msgspec

from service.errors import WorkerError
from service.ipc.commands import Control, Credit, Interact, Playback, Rewind, Shutdown, Start, Stop
from service.ipc.events import (
    Applied,
    Chunk,
    ControlApplied,
    Dead,
    Discarded,
    Ended,
    Failed,
    Full,
    Heartbeat,
    Queued,
    Ready,
    Rejected,
    Rewound,
    Started,
    Stored,
    Superseded,
    Warned,
)
from service.ipc.values import Message

PROTOCOL = b"longtake-ipc/1"
"""First part of every message: another version, or another program, is refused before anything is decoded."""


class IpcError(WorkerError):
    """Something is wrong between the two processes; the channel is not to be used further."""


class MalformedMessage(IpcError):
    """The bytes are not a message of this protocol."""


class VersionMismatch(IpcError):
    """The other side speaks another version of this protocol."""


Command: TypeAlias = Start | Interact | Credit | Control | Playback | Rewind | Stop | Shutdown
SessionEvent: TypeAlias = (
    Started
    | Queued
    | Applied
    | Superseded
    | Rejected
    | ControlApplied
    | Discarded
    | Rewound
    | Warned
    | Chunk
    | Stored
    | Ended
    | Failed
    | Full
)
Event: TypeAlias = Ready | Heartbeat | Dead | SessionEvent
COMMANDS: tuple[type[Message], ...] = get_args(Command)
EVENTS: tuple[type[Message], ...] = get_args(Event)


_Changed = TypeVar("_Changed", bound=Message)


def changed(message: _Changed, **fields: object) -> _Changed:
    """The same message with other values in some fields."""
    return msgspec.structs.replace(message, **fields)


def encode(message: Command | Event) -> list[bytes]:
    """The parts of a message, ready for a multipart send."""
    return [PROTOCOL, msgspec.msgpack.encode(message)]


def decode_command(parts: list[bytes]) -> Command:
    return _decode(parts, _COMMAND_DECODER)


def decode_event(parts: list[bytes]) -> Event:
    return _decode(parts, _EVENT_DECODER)


_COMMAND_DECODER: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_EVENT_DECODER: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_Decoded = TypeVar("_Decoded")


def _decode(parts: list[bytes], decoder: "msgspec.msgpack.Decoder[_Decoded]") -> _Decoded:
    if len(parts) != 2:
        raise MalformedMessage(f"expected 2 parts (protocol, message), got {len(parts)}")
    if parts[0] != PROTOCOL:
        raise VersionMismatch(f"expected protocol {PROTOCOL!r}, got {parts[0][:64]!r}")
    try:
        return decoder.decode(parts[1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"expected one message of {PROTOCOL.decode()}: {error}") from error
