"""Messages a client sends. Strict: a field of another type, or one too many, is an error.

It knows nothing of sockets or sessions. Invariant: a model that exists is valid; the rules that
need a server's settings (prompt length, nesting) are checked in `service.protocol.parse`.
"""

import unicodedata
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from service.errors import ErrorCode

SUBPROTOCOL = "longtake.v1"

MediaFormat = Literal["jpeg", "webp", "png", "raw", "m4s"]
Pacing = Literal["realtime", "none"]
PromptMode = Literal["recache", "flush", "cut", "keep"]
SinkPolicy = Literal["keep", "refresh"]
SlowConsumer = Literal["pause", "drop", "disconnect"]
ControlAction = Literal["pause", "resume", "quality", "rewind", "seek_live"]
DirectAction = Literal["offer", "take", "release"]

MAX_SEED = 2**63 - 1
MAX_PROMPTS = 8
MAX_TRANSITION_CHUNKS = 64
MAX_WEIGHT = 1e6
MAX_ADAPTERS = 8
MAX_ADAPTER_SCALE = 100.0
MAX_SECONDS = 1e9
MAX_BUFFER_SECONDS = 60.0

EventId = Annotated[str, Field(min_length=1, max_length=128)]
Prompts = Annotated[tuple["WeightedPrompt", ...], Field(strict=False, min_length=1, max_length=MAX_PROMPTS)]


class ClientModel(BaseModel):
    """What comes from a client, over whatever transport."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def refusal(code: ErrorCode, message: str, *, field: str, expected: str) -> PydanticCustomError:
    """An error for a validator to raise; parse.py turns it back into a ProtocolError."""
    return PydanticCustomError(code.value, "{message}", {"field": field, "expected": expected, "message": message})


def is_blank(text: str) -> bool:
    """True when nothing in the text can be seen: only spaces, controls and zero-width characters."""
    return all(unicodedata.category(character)[0] in "ZC" for character in text)


class WeightedPrompt(ClientModel):
    """One prompt of a blend. Weights are relative; they need not sum to one."""

    text: str
    weight: float = 1.0


class Prompted(ClientModel):
    """One prompt, or several as a blend."""

    prompt: str | None = None
    prompts: Prompts | None = None

    @model_validator(mode="after")
    def _one_way_of_prompting(self) -> Self:
        if self.prompt is not None and self.prompts is not None:
            raise refusal(
                ErrorCode.PROMPT_CONFLICT,
                "Both `prompt` and `prompts` were given.",
                field="prompts",
                expected="either `prompt` or `prompts`",
            )
        if self.prompt is None and self.prompts is None:
            raise refusal(
                ErrorCode.PROMPT_MISSING, "No prompt was given.", field="prompt", expected="`prompt` or `prompts`"
            )
        _check_weights(self.weighted_prompts)
        return self

    @property
    def weighted_prompts(self) -> tuple[WeightedPrompt, ...]:
        """The prompt as a blend, whichever way it was given."""
        if self.prompts is not None:
            return self.prompts
        return (WeightedPrompt(text=self.prompt or ""),)

    def prompt_field(self, index: int) -> str:
        """Where prompt number `index` stands in the message."""
        return "prompt" if self.prompts is None else f"prompts.{index}.text"


def _check_weights(prompts: tuple[WeightedPrompt, ...]) -> None:
    for index, prompt in enumerate(prompts):
        if not 0.0 <= prompt.weight <= MAX_WEIGHT:
            raise refusal(
                ErrorCode.WEIGHTS_INVALID,
                f"Weight {index} is {prompt.weight:g}.",
                field=f"prompts.{index}.weight",
                expected=f"a number from 0 to {MAX_WEIGHT:g}",
            )
    if sum(prompt.weight for prompt in prompts) == 0.0:
        raise refusal(
            ErrorCode.WEIGHTS_INVALID,
            "All weights are zero.",
            field="prompts",
            expected="at least one weight above 0",
        )


class AdapterRequest(ClientModel):
    """A low-rank adapter by the name the server knows it by, and how much of it."""

    name: str = Field(min_length=1, max_length=64)
    scale: float = Field(default=1.0, ge=-MAX_ADAPTER_SCALE, le=MAX_ADAPTER_SCALE)


Adapters = Annotated[tuple[AdapterRequest, ...], Field(strict=False, max_length=MAX_ADAPTERS)]


class SessionStart(Prompted):
    """Asks for a session: the first message of a connection, once.

    `adapters` is the whole set it is made with; without it, the server's usual one.
    """

    type: Literal["session.start"] = "session.start"
    model: str = Field(default="demo", min_length=1, max_length=64)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    width: int | None = Field(default=None, ge=1, le=65536)
    height: int | None = Field(default=None, ge=1, le=65536)
    format: MediaFormat = "jpeg"
    quality: int = Field(default=85, ge=1, le=100)
    pacing: Pacing = "realtime"
    max_seconds: float | None = Field(default=None, gt=0, le=MAX_SECONDS)
    slow_consumer: SlowConsumer = "pause"
    buffer_seconds: float = Field(default=0.0, ge=0, le=MAX_BUFFER_SECONDS)
    shared_direction: bool = False
    unattended: bool = False
    picture_id: str | None = Field(default=None, min_length=1, max_length=64)
    adapters: Adapters | None = None
    event_id: EventId | None = None


class SessionResume(ClientModel):
    """Goes on with a session whose connection was lost, or that REST gave a token for: the first message of a
    connection. `last_sequence` is the last chunk that came whole; what follows it is sent again.
    """

    type: Literal["session.resume"] = "session.resume"
    session_id: str = Field(min_length=1, max_length=128)
    resume_token: str = Field(min_length=1, max_length=128)
    last_sequence: int | None = Field(default=None, ge=0, le=MAX_SEED)
    slow_consumer: SlowConsumer = "pause"


class SessionJoin(ClientModel):
    """Watches a session that another connection directs: the first message of a connection.

    `format`, where it is given, has to be the session's. With `pause`, a viewer that reads slowly falls behind by
    itself; nobody waits for it.
    """

    type: Literal["session.join"] = "session.join"
    session_id: str = Field(min_length=1, max_length=128)
    format: MediaFormat | None = None
    slow_consumer: SlowConsumer = "drop"


class SessionInteraction(Prompted):
    """Changes the prompt. `at` is in seconds of media: the first block beginning then or later.

    `adapters` changes the whole set with it, for a session that shares its worker with no other.
    """

    type: Literal["session.interaction"] = "session.interaction"
    event_id: EventId
    transition_chunks: int = Field(default=0, ge=0, le=MAX_TRANSITION_CHUNKS)
    mode: PromptMode = "recache"
    sink: SinkPolicy = "keep"
    adapters: Adapters | None = None
    at: float | None = Field(default=None, ge=0, le=MAX_SECONDS)


class _Placed(ClientModel):
    """Names a place in a session: the beginning of a chunk's block, or of the block on screen at a second of the
    video as it stands.
    """

    sequence: int | None = Field(default=None, ge=0, le=MAX_SEED)
    seconds: float | None = Field(default=None, ge=0, le=MAX_SECONDS)
    same_noise: bool = False

    @model_validator(mode="after")
    def _one_way_of_placing(self) -> Self:
        if self.sequence is not None and self.seconds is not None:
            raise refusal(
                ErrorCode.FIELD_UNKNOWN,
                "Both `sequence` and `seconds` were given.",
                field="seconds",
                expected="either `sequence` or `seconds`",
            )
        return self


class SessionControl(_Placed):
    """Halts the making of blocks, goes on with it, changes how frames are encoded, goes back to make the video anew
    from some place on, or passes over what waits for this client (`seek_live`).

    To pause what is paused, or resume what runs, is no error: it is answered like any other.
    """

    type: Literal["session.control"] = "session.control"
    action: ControlAction
    quality: int | None = Field(default=None, ge=1, le=100)
    event_id: EventId | None = None

    @model_validator(mode="after")
    def _fields_go_with_their_action(self) -> Self:
        fields = (("quality", "quality"), ("sequence", "rewind"), ("seconds", "rewind"), ("same_noise", "rewind"))
        for name, action in fields:
            value = getattr(self, name)
            if self.action != action and value is not None and value is not False:
                raise refusal(
                    ErrorCode.FIELD_UNKNOWN,
                    f"There is no `{name}` to {self.action}.",
                    field=name,
                    expected=f'no such field unless `action` is "{action}"',
                )
        if self.action == "quality" and self.quality is None:
            raise refusal(
                ErrorCode.FIELD_MISSING, "The field `quality` is missing.", field="quality", expected="this field"
            )
        if self.action == "rewind" and self.sequence is None and self.seconds is None:
            raise refusal(
                ErrorCode.FIELD_MISSING,
                "There is no place to go back to.",
                field="sequence",
                expected="`sequence` or `seconds`",
            )
        return self


class SessionFork(_Placed):
    """Makes a new session with the history of this one before some place, by default its end; this one goes on."""

    type: Literal["session.fork"] = "session.fork"
    event_id: EventId | None = None


class SessionCheckpoint(ClientModel):
    """Writes a name for the place that the session has come to into its record."""

    type: Literal["session.checkpoint"] = "session.checkpoint"
    name: str = Field(min_length=1, max_length=128)
    event_id: EventId | None = None


class SessionDirect(ClientModel):
    """Hands direction over: the director offers it or gives it up, a viewer takes what is offered or given up."""

    type: Literal["session.direct"] = "session.direct"
    action: DirectAction


class SessionPlayback(ClientModel):
    """What the viewer sees now: from the first report on, the session is paced by it instead of the clock."""

    type: Literal["session.playback"] = "session.playback"
    position_seconds: float = Field(ge=0, le=MAX_SECONDS)
    buffered_seconds: float | None = Field(default=None, ge=0, le=MAX_SECONDS)
    dropped: int | None = Field(default=None, ge=0, le=MAX_SEED)


class SessionPing(ClientModel):
    """Answered with `session.pong`; also shows that the client is there."""

    type: Literal["session.ping"] = "session.ping"
    id: str | None = Field(default=None, max_length=128)


class SessionStop(ClientModel):
    """Ends the session; the server answers with `session.done`."""

    type: Literal["session.stop"] = "session.stop"


ClientMessage = (
    SessionStart
    | SessionResume
    | SessionJoin
    | SessionInteraction
    | SessionControl
    | SessionFork
    | SessionCheckpoint
    | SessionDirect
    | SessionPlayback
    | SessionPing
    | SessionStop
)
