"""What the API tells the worker.

Knows nothing of sockets, tensors or the web. Invariant: each command says which message answers it, and what the
worker is told about a session that has ended goes nowhere.
"""

from service.ipc.values import Action, Adapter, Course, Format, Message, Mode, Pacing, Prompt, Sink


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
    adapters: tuple[Adapter, ...] | None = None
    """The whole set from then on; only of a session that has its worker to itself. None: as it was."""
    not_before: float = 0.0
    """Media seconds that were made before it came, by another worker: it does not take effect in them."""


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
    buffer_seconds: float = 0.0
    """How far a paced session may be made ahead of its viewer, where that is more than the settings' lead. What
    nobody has seen of it is taken back when a new prompt comes."""
    picture: bytes | None = None
    """A PNG, JPEG or WebP file whose picture is the first block. What is wrong with it comes as `Failed`."""
    adapters: tuple[Adapter, ...] | None = None
    """The whole set of the session; None: the worker's usual one."""
    course: Course | None = None
    """Go on from there instead of beginning; `prompts` and `seed` then say nothing."""
    take: int | None = None
    """With `course`: begin this take at its end."""
    interactions: tuple[Interact, ...] = ()
    """Prompts that were accepted before and have not taken effect: as if each came right behind this, but before any
    block is begun."""
    background: bool = False
    """A job: beside the sessions that `max_sessions` counts, and made only in the gaps that they leave."""
    traceparent: str = ""
    """The W3C context of the trace that it belongs to, "" where none is kept."""


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


class Rewind(Message, frozen=True, kw_only=True):
    """Go back to the end of block `block` - 1. Answered by `Discarded` and `Rewound`, or `Rejected`."""

    session: str
    block: int
    take: int | None = None
    """The new take's number; None keeps the take, and with it the noise."""
    event_id: str = ""


class Stop(Message, frozen=True, kw_only=True):
    """End a session: answered by `Ended` or `Failed`, or by nothing where the session has already ended."""

    session: str


class Shutdown(Message, frozen=True, kw_only=True):
    """Take no new session, end the others after the block in the making, and exit."""
