"""The messages between the API process and one engine worker; `service/channel.py` carries them.

Every message is one frozen msgspec struct, tagged by its class name. Knows nothing of sockets, tensors or the
web. Invariant: bytes that cannot be read raise `MalformedMessage` or `VersionMismatch`, never anything else. Every
session that is started ends in exactly one of `Ended` and `Failed`, after all its other messages.
"""

from typing import Literal, TypeAlias, TypeVar, get_args

import msgspec

from service.errors import WorkerError

PROTOCOL = b"longtake-ipc/1"
"""First part of every message: another version, or another program, is refused before anything is decoded."""

Format = Literal["jpeg", "webp", "png", "raw"]
Pacing = Literal["realtime", "none"]
Mode = Literal["recache", "flush", "cut", "keep"]
Sink = Literal["keep", "refresh"]
EndReason = Literal["stopped", "completed", "drained"]
Action = Literal["pause", "resume", "quality"]


class IpcError(WorkerError):
    """Something is wrong between the two processes; the channel is not to be used further."""


class MalformedMessage(IpcError):
    """The bytes are not a message of this protocol."""


class VersionMismatch(IpcError):
    """The other side speaks another version of this protocol."""


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Base of every message; the class name is the tag on the wire."""


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    weight: float = 1.0


class FrameSpan(msgspec.Struct, frozen=True, array_like=True):
    """Where one encoded frame lies in the payload (bytes), and when it is shown (seconds of media time)."""

    offset: int
    length: int
    pts: float


class StageMilliseconds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: float = 0.0
    recache: float = 0.0
    denoise: float = 0.0
    clean: float = 0.0
    decode: float = 0.0
    encode: float = 0.0


class MemoryPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the memory goes, in bytes: `max_streams` of `stream_bytes` fit beside the model into the budget.

    `stream_bytes` is the sum of a stream's cache, text, decoder and history.
    """

    budget_bytes: int
    weights_bytes: int
    workspace_bytes: int
    cache_bytes: int
    text_bytes: int
    decoder_bytes: int
    history_bytes: int
    stream_bytes: int


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only the worker knows about the model it has loaded."""

    preset: str
    title: str
    licence: str
    width: int
    height: int
    fps: int
    block_frames: int
    """Latent frames of a block."""
    frames_per_block: int
    first_block_frames: int
    """Pixel frames of the first block of a scene: fewer where the decoder gives one for its first latent."""
    fingerprint: str
    parameters: int
    cache_bytes_per_stream: int
    max_streams: int
    """Sessions that memory allows; the setting `max_sessions` may allow fewer."""
    plan: MemoryPlan
    prompt_characters: int
    threads: int
    memory_bytes: int
    """Resident memory of the worker after warm-up."""
    warmup_ms: float
    block_ms: float
    """One block made in the warm-up, without the costs of a first call."""
    suggested_prompts: tuple[str, ...]
    pid: int


# Commands: API -> worker.


class Start(Message, frozen=True, kw_only=True):
    """Open a session. Answered by `Started` or `Failed`."""

    session: str
    prompts: tuple[Prompt, ...]
    seed: int | None = None
    """None: the worker draws one and says so in `Started`."""
    model: str | None = None
    width: int | None = None
    height: int | None = None
    format: Format = "jpeg"
    quality: int = 85
    pacing: Pacing = "realtime"
    max_seconds: float | None = None
    credits: int
    """Chunks that may be sent before the first `Credit`."""
    event_id: str = ""


class Interact(Message, frozen=True, kw_only=True):
    """A new prompt. Ends in exactly one of `Applied`, `Superseded`, `Rejected`, or the end of the session."""

    session: str
    event_id: str
    prompts: tuple[Prompt, ...]
    mode: Mode = "recache"
    sink: Sink = "keep"
    transition_chunks: int = 0
    at: float | None = None
    """Media seconds: takes effect at the first block that begins at or after it. None: at the next block."""


class Credit(Message, frozen=True, kw_only=True):
    """The client's side has taken `chunks` chunks; so many more may be sent."""

    session: str
    chunks: int = 1


class Control(Message, frozen=True, kw_only=True):
    """Answered by `ControlApplied`, whether or not it changes anything. `quality` goes with its action only."""

    session: str
    action: Action
    quality: int | None = None
    event_id: str = ""


class Playback(Message, frozen=True, kw_only=True):
    """The viewer's playhead in seconds of media. From the first one on, the session is paced by it."""

    session: str
    position: float
    buffered: float | None = None
    dropped: int | None = None
    """Frames the player left out, since the start."""


class Stop(Message, frozen=True, kw_only=True):
    """End a session: answered by `Ended` or `Failed`, or by nothing where the session has already ended."""

    session: str


class Shutdown(Message, frozen=True, kw_only=True):
    """Take no new session, end the others after the block in the making, and exit."""


# Events: worker -> API.


class Ready(Message, frozen=True, kw_only=True):
    facts: Facts


class Started(Message, frozen=True, kw_only=True):
    session: str
    seed: int
    model: str
    width: int
    height: int
    fps: int
    block_frames: int
    frames_per_block: int
    first_block_frames: int


class Queued(Message, frozen=True, kw_only=True):
    """An interaction is accepted. `ahead_blocks`: blocks made before it takes effect, where that is known."""

    session: str
    event_id: str
    ahead_blocks: int | None = None


class Applied(Message, frozen=True, kw_only=True):
    """Sent just before the chunk that is the first under this event."""

    session: str
    event_id: str
    sequence: int
    block: int
    queued_ms: float
    """From arrival in the worker to the begin of the first block under it."""
    latency_ms: float
    """From arrival in the worker to the moment when that block's chunk leaves it."""


class Superseded(Message, frozen=True, kw_only=True):
    session: str
    event_id: str
    by: str


class Rejected(Message, frozen=True, kw_only=True):
    session: str
    event_id: str
    code: str
    message: str
    field: str | None = None


class ControlApplied(Message, frozen=True, kw_only=True):
    """`sequence`: the first chunk it holds for. Sent before that chunk."""

    session: str
    action: Action
    quality: int | None = None
    sequence: int
    event_id: str = ""


class Warned(Message, frozen=True, kw_only=True):
    session: str
    code: str
    message: str
    field: str | None = None
    event_id: str | None = None
    kept_characters: int | None = None
    """With `prompt_truncated`: how much of the prompt was used."""


class Chunk(Message, frozen=True, kw_only=True):
    session: str
    sequence: int
    take: int
    block: int
    attempt: int
    pts: float
    fps: int
    format: Format
    frames: tuple[FrameSpan, ...]
    frames_sha256: str
    event_ids: tuple[str, ...] = ()
    started_event_ids: tuple[str, ...] = ()
    completed_event_ids: tuple[str, ...] = ()
    timings: StageMilliseconds
    lead_seconds: float = 0.0
    """Media made, this block included, less the playhead, when the block was finished."""
    payload: bytes


class Ended(Message, frozen=True, kw_only=True):
    """The last message of a session that ended as it should. `journal`: the engine's journal, a JSON text."""

    session: str
    reason: EndReason
    chunks: int
    frames: int
    journal: str


class Failed(Message, frozen=True, kw_only=True):
    """The last message of a session that could not start or go on."""

    session: str
    code: str
    message: str
    field: str | None = None


class Heartbeat(Message, frozen=True, kw_only=True):
    sessions: int
    idle_seconds: float
    """Since the engine loop last came round. Large while `busy`: the engine hangs."""
    busy: bool
    """The loop is not resting, so it has to move again soon."""
    blocks: int
    """Blocks made since the start."""
    memory_bytes: int


class Dead(Message, frozen=True, kw_only=True):
    """The worker's last words: it exits with a non-zero code after this."""

    code: str
    message: str


Command: TypeAlias = Start | Interact | Credit | Control | Playback | Stop | Shutdown
SessionEvent: TypeAlias = (
    Started | Queued | Applied | Superseded | Rejected | ControlApplied | Warned | Chunk | Ended | Failed
)
Event: TypeAlias = Ready | Heartbeat | Dead | SessionEvent
COMMANDS: tuple[type[Message], ...] = get_args(Command)
EVENTS: tuple[type[Message], ...] = get_args(Event)


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
