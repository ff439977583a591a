"""Messages the server sends. A client ignores fields it does not know, so that fields can be added.

It knows nothing of sockets or sessions. Invariant: every session ends with exactly one SessionDone
or one ErrorMessage with `fatal`, and every ChunkMetadata is followed at once by its binary message.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.protocol.client import SUBPROTOCOL, ControlAction, MediaFormat

DoneReason = Literal["stopped", "completed", "drained", "left"]
Role = Literal["director", "viewer"]
DiscardReason = Literal["prompt", "pause", "rewind", "resume"]
ResumeCause = Literal["connection", "worker"]
EventIds = Annotated[tuple[str, ...], Field(strict=False)]


class _ServerModel(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


class SessionLimits(_ServerModel):
    """The bounds that hold for this connection, so that a client need not find them by trying."""

    max_message_bytes: int
    max_prompt_chars: int
    max_prompts: int
    interaction_queue: int
    message_rate: float
    max_seconds: float
    idle_timeout_s: float
    resume_grace_s: float


class SessionQueued(_ServerModel):
    """There is no place yet. `position` 1 is next; `waiting` counts all who wait, this session included."""

    type: Literal["session.queued"] = "session.queued"
    position: int
    waiting: int


class VideoStart(_ServerModel):
    """The session exists; chunk `next_sequence` is next. `block_frames` counts latent frames, the others pixel frames.

    The director's has a `resume_token`, which is good for one `session.resume` after the connection is lost.
    """

    type: Literal["video.start"] = "video.start"
    session_id: str
    role: Role = "director"
    resume_token: str | None = None
    next_sequence: int = 0
    shared_direction: bool = False
    model: str
    width: int
    height: int
    fps: float
    format: MediaFormat
    seed: int
    block_frames: int
    frames_per_block: int
    first_block_frames: int
    subprotocol: str = SUBPROTOCOL
    limits: SessionLimits


class MediaInit(_ServerModel):
    """How frames are encoded from chunk `sequence` on; after `video.start` and after a change of quality.

    With format `m4s` it has the `codec`, as Media Source Extensions name it, and `init`: the init segment in base64,
    which a decoder has to have before the first fragment. It is the same for all of a session's chunks.
    """

    type: Literal["media.init"] = "media.init"
    format: MediaFormat
    quality: int
    width: int
    height: int
    sequence: int
    codec: str | None = None
    init: str | None = None


class FramePart(_ServerModel):
    """Where one frame lies in the chunk's binary message, and when it is shown (seconds of media).

    With format `m4s` the chunk is one fragment; the first frame's part has the fragment's head before the frame.
    """

    offset: int
    length: int
    pts: float


class ChunkTimings(_ServerModel):
    """What the block cost, in milliseconds per stage."""

    text_ms: float = 0.0
    recache_ms: float = 0.0
    denoise_ms: float = 0.0
    clean_ms: float = 0.0
    decode_ms: float = 0.0
    encode_ms: float = 0.0


class ChunkMetadata(_ServerModel):
    """Announces the binary message that follows at once, empty or not. `sequence` grows by one, always.

    `dropped_frames` were left out for a slow client; `num_frames` and `frames` are those that are there.
    """

    type: Literal["video.chunk_metadata"] = "video.chunk_metadata"
    sequence: int
    take: int
    block: int
    attempt: int
    pts: float
    fps: float
    num_frames: int
    format: MediaFormat
    byte_length: int
    frames: Annotated[tuple[FramePart, ...], Field(strict=False)]
    frames_sha256: str
    dropped_frames: int = 0
    event_ids: EventIds = ()
    started_event_ids: EventIds = ()
    completed_event_ids: EventIds = ()
    timings: ChunkTimings = ChunkTimings()


class VideoDiscard(_ServerModel):
    """Chunks from `from_sequence` on are not to be shown, or shown no further. The next chunk that comes is
    `next_sequence`: numbers between the two that have not come will not come, and none is used again.
    """

    type: Literal["video.discard"] = "video.discard"
    from_sequence: int
    next_sequence: int
    reason: DiscardReason


class InteractionQueued(_ServerModel):
    """The interaction was accepted; it will end in applied, superseded, rejected or the session's end."""

    type: Literal["session.interaction.queued"] = "session.interaction.queued"
    event_id: str
    ahead_blocks: int | None = None


class InteractionApplied(_ServerModel):
    """The chunk `sequence` is the first made under it. Milliseconds are the server's clock, from receipt."""

    type: Literal["session.interaction.applied"] = "session.interaction.applied"
    event_id: str
    sequence: int
    block: int
    queued_ms: float
    latency_ms: float


class InteractionSuperseded(_ServerModel):
    """A newer interaction (`by`) took its place before its block came."""

    type: Literal["session.interaction.superseded"] = "session.interaction.superseded"
    event_id: str
    by: str


class InteractionRejected(_ServerModel):
    """The engine refused it; the session goes on as before."""

    type: Literal["session.interaction.rejected"] = "session.interaction.rejected"
    event_id: str
    code: str
    message: str
    field: str | None = None


class SessionControlApplied(_ServerModel):
    """A control was carried out; `sequence` is the first chunk it holds for, `block` and `take` those of a rewind."""

    type: Literal["session.control.applied"] = "session.control.applied"
    action: ControlAction
    quality: int | None = None
    sequence: int
    block: int | None = None
    take: int | None = None
    event_id: str | None = None


class SessionForked(_ServerModel):
    """The new session, which begins when somebody goes on with it: `session.resume` with this token."""

    type: Literal["session.forked"] = "session.forked"
    session_id: str
    resume_token: str
    block: int
    event_id: str | None = None


class SessionCheckpointed(_ServerModel):
    """The place has its name: a rewind or fork to chunk `sequence`, the next one, comes back to it."""

    type: Literal["session.checkpointed"] = "session.checkpointed"
    name: str
    sequence: int
    block: int
    event_id: str | None = None


class SessionDirection(_ServerModel):
    """Who directs has changed, or may: `role` is this connection's own. `offered`: a viewer may take it.

    A connection that becomes the director has the `resume_token` now; the one before has none any more.
    """

    type: Literal["session.direction"] = "session.direction"
    role: Role
    offered: bool
    resume_token: str | None = None


class MissingChunks(_ServerModel):
    """Chunks that cannot be sent again, both included."""

    from_sequence: int
    to_sequence: int


class SessionResumed(_ServerModel):
    """The session goes on with chunk `next_sequence`: after a lost connection, or after a lost engine."""

    type: Literal["session.resumed"] = "session.resumed"
    session_id: str
    cause: ResumeCause
    next_sequence: int
    resume_token: str | None = None
    missing: MissingChunks | None = None


class WorkerRestarting(_ServerModel):
    """The engine was lost and is started again; the session waits and goes on exactly (`session.resumed`)."""

    type: Literal["session.worker_restarting"] = "session.worker_restarting"
    message: str


class SessionStats(_ServerModel):
    """How the session goes. `fps` is of the last interval; `realtime_ratio` is media sent per second of the
    clock since the first chunk, pauses included; `lead_seconds` is media sent and not yet shown; `replay_seconds`
    and `replay_bytes` is what could be sent again after a lost connection.
    """

    type: Literal["session.stats"] = "session.stats"
    at_seconds: float
    fps: float
    realtime_ratio: float
    lead_seconds: float
    chunks: int
    frames: int
    frames_dropped: int
    bytes_sent: int
    viewers: int = 0
    replay_seconds: float = 0.0
    replay_bytes: int = 0
    block_ms: float | None = None
    switch_ms: float | None = None


class SessionWarning(_ServerModel):
    """Something was not as asked, and nothing stopped because of it."""

    type: Literal["session.warning"] = "session.warning"
    code: str
    message: str
    field: str | None = None
    event_id: str | None = None
    kept_characters: int | None = None
    count: int | None = None


class SessionDraining(_ServerModel):
    """The server is going away: the session may end by itself, and is ended after `deadline_seconds`."""

    type: Literal["session.draining"] = "session.draining"
    deadline_seconds: float


class SessionPong(_ServerModel):
    type: Literal["session.pong"] = "session.pong"
    id: str | None = None


class SessionDone(_ServerModel):
    """The session's end, and its journal, from which the same video can be made again."""

    type: Literal["session.done"] = "session.done"
    reason: DoneReason
    chunks: int
    frames: int
    journal: dict[str, JsonValue]


class ErrorMessage(_ServerModel):
    """Something was refused (`fatal` false: everything goes on) or ended (`fatal` true: a close follows)."""

    type: Literal["error"] = "error"
    code: str
    message: str
    field: str | None = None
    expected: str | None = None
    retryable: bool = False
    retry_after: float | None = None
    event_id: str | None = None
    fatal: bool = False


class UnknownMessage(_ServerModel):
    """A message of a type this version does not know; clients pass over it."""

    type: str


ServerMessage = (
    SessionQueued
    | VideoStart
    | MediaInit
    | ChunkMetadata
    | VideoDiscard
    | InteractionQueued
    | InteractionApplied
    | InteractionSuperseded
    | InteractionRejected
    | SessionControlApplied
    | SessionForked
    | SessionCheckpointed
    | SessionDirection
    | SessionResumed
    | WorkerRestarting
    | SessionStats
    | SessionWarning
    | SessionDraining
    | SessionPong
    | SessionDone
    | ErrorMessage
)
