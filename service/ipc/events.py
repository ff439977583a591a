"""What the worker tells the API.

Knows nothing of sockets, tensors or the web. Invariant: every session that is started ends in exactly one of `Ended`
and `Failed`, after all its other messages.
"""

from service.ipc.values import Action, DiscardReason, EndReason, Facts, Format, FrameSpan, Message, StageMilliseconds


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
    codec: str = ""
    """With format `m4s`: what a browser calls it."""
    init: bytes = b""
    """With format `m4s`: what a decoder has to have before the first fragment."""


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


class Discarded(Message, frozen=True, kw_only=True):
    """Chunks from this number on that were sent are not to be shown; comes before the chunk that takes their place.

    `next_sequence`: the number of that chunk, which has never been used before.
    """

    session: str
    from_sequence: int
    next_sequence: int
    block: int
    """The first block that is made anew."""
    reason: DiscardReason


class Rewound(Message, frozen=True, kw_only=True):
    """The next chunk, `sequence`, shows block `block` of take `take`."""

    session: str
    block: int
    take: int
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
    events: tuple[str, ...] = ()
    """The engine's journal since the chunk before, event by event as JSON texts."""
    timings: StageMilliseconds
    lead_seconds: float = 0.0
    """Media made, this block included, less the playhead, when the block was finished."""
    stored: bool = True
    """Its latents are in their file; False: the disk does not take them now, and `Stored` comes when it has."""
    payload: bytes


class Stored(Message, frozen=True, kw_only=True):
    """The latents of a chunk that had to wait for the disk are in their file."""

    session: str
    sequence: int


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


class Full(Message, frozen=True, kw_only=True):
    """Whoever shares a worker out has no place left in it: the session was not opened, and may be elsewhere."""

    session: str


class Heartbeat(Message, frozen=True, kw_only=True):
    sessions: int
    idle_seconds: float
    """Since the engine loop last came round. Large while `busy`: the engine hangs."""
    busy: bool
    """The loop is not resting, so it has to move again soon."""
    blocks: int
    """Blocks made since the start."""
    memory_bytes: int
    """Of the process, on the host."""
    device_memory_bytes: int | None = None
    """What tensors hold on the device; None where that is the host."""
    others: int = 0
    """Of the sessions, those of other API processes, where several share the worker; whoever shares it out says so."""


class Dead(Message, frozen=True, kw_only=True):
    """The worker's last words: it exits with a non-zero code after this."""

    code: str
    message: str
