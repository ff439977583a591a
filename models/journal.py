"""The journal: what was asked of a stream, with the block at which each thing took effect.

A stream's video is a function of (model, size, seed, journal). Values only; JSON out and in. Knows no tensors.

A journal is kept in the order in which things happened, rewinds included. `Timeline` is what is left of it when the
turns that were taken back are dropped: the events that made the present take, in order of blocks.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from cache.recache import MODES, SINK_POLICIES, Mode
from cache.replay import Change
from cache.window import SinkPolicy
from models.errors import ChangeError, PromptError, RestoreError

MAX_PROMPT_CHARACTERS = 2000
MAX_WEIGHTED_PROMPTS = 8
MAX_WEIGHT = 1e6
MAX_TRANSITION_CHUNKS = 64
MAX_OPENING_BLOCKS = 32
"""Blocks that a stream may be given at its beginning."""
JOURNAL_VERSION = 1
MAX_MESSAGE = 200
"""Characters of a refused document that its error repeats."""


@dataclass(frozen=True, slots=True)
class WeightedPrompt:
    """A prompt and its share in a blend; shares are divided by their sum."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class AdapterChoice:
    """An adapter by name, and how much of it."""

    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptEvent:
    """A prompt that took effect before `block` was made."""

    block: int
    prompts: tuple[WeightedPrompt, ...]
    mode: Mode = "recache"
    sink: SinkPolicy = "keep"
    transition_chunks: int = 0
    event_id: str = ""
    adapters: tuple[AdapterChoice, ...] | None = None
    """The whole set from this block on; None leaves it as it is, and is none at all in a stream's first prompt."""

    @property
    def reached(self) -> int:
        """The first block made under the whole new prompt; what the mode does to the past happens before it."""
        return self.block + max(self.transition_chunks, 1) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeEvent:
    """A rewind: `block` and all after it are made anew, with the noise of `take`."""

    block: int
    take: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEvent:
    """`block` was found faulty and made again: this is the attempt that stands, counted from 0."""

    block: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningEvent:
    """The first `blocks` blocks were given, by a picture or a clip, not made; in every take."""

    blocks: int
    block: int = 0


Event = PromptEvent | TakeEvent | AttemptEvent | OpeningEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """All that a replay needs beside the weights, and the numerics it was made with."""

    model: str
    seed: int
    fingerprint: str
    events: tuple[Event, ...]

    def to_json(self) -> str:
        """One JSON object; `Journal.from_json` gives the same value back."""
        events = [_event_object(event) for event in self.events]
        head = {"version": JOURNAL_VERSION, "model": self.model, "seed": self.seed, "fingerprint": self.fingerprint}
        return json.dumps({**head, "events": events}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "Journal":
        """Raises RestoreError, PromptError or ChangeError naming what is wrong with the document."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RestoreError(f"a journal must be a JSON document: {error}", field="journal") from error
        read = _read_object(document, _JOURNAL_FIELDS, what="journal")
        if read["version"] != JOURNAL_VERSION:
            message = f"journal version must be {JOURNAL_VERSION}, not {_short(read['version'])}"
            raise RestoreError(message, field="version")
        events = tuple(_read_event(event) for event in read["events"])
        return Journal(model=read["model"], seed=read["seed"], fingerprint=read["fingerprint"], events=events)


def event_to_json(event: "Event") -> str:
    """One event of a journal, as it stands in the journal's document."""
    return json.dumps(_event_object(event), ensure_ascii=False)


def event_from_json(text: str) -> "Event":
    """What `event_to_json` wrote. Raises RestoreError, PromptError or ChangeError naming what is wrong with it."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RestoreError(f"a journal's event must be a JSON document: {error}", field="event") from error
    return _read_event(document)


def _event_object(event: "Event") -> dict[str, Any]:
    """`adapters` is written where something is said about them only: most journals know none."""
    fields = {name: value for name, value in asdict(event).items() if (name, value) != ("adapters", None)}
    return {"type": _NAMES[type(event)], **fields}


_NAMES: dict[type, str] = {PromptEvent: "prompt", TakeEvent: "take", AttemptEvent: "attempt", OpeningEvent: "opening"}

_JOURNAL_FIELDS = {"version": int, "model": str, "seed": int, "fingerprint": str, "events": list}
_TAKE_FIELDS = {"type": str, "block": int, "take": int}
_ATTEMPT_FIELDS = {"type": str, "block": int, "attempt": int}
_OPENING_FIELDS = {"type": str, "blocks": int, "block": int}
_PROMPT_FIELDS = {
    "type": str,
    "block": int,
    "prompts": list,
    "mode": str,
    "sink": str,
    "transition_chunks": int,
    "event_id": str,
}
_WEIGHTED_FIELDS = {"text": str, "weight": float}
_ADAPTER_FIELDS = {"name": str, "scale": float}


def _read_event(document: object) -> Event:
    if not isinstance(document, dict):
        raise RestoreError(f"a journal's event must be an object, not {_short(document)}", field="event")
    kind = document.get("type")
    if kind == "take":
        read = _read_object(document, _TAKE_FIELDS, what="event")
        return TakeEvent(block=_counted(read, "block"), take=_counted(read, "take"))
    if kind == "attempt":
        read = _read_object(document, _ATTEMPT_FIELDS, what="event")
        return AttemptEvent(block=_counted(read, "block"), attempt=_counted(read, "attempt"))
    if kind == "opening":
        return _read_opening(_read_object(document, _OPENING_FIELDS, what="event"))
    if kind == "prompt":
        chosen = _read_adapters(document)
        read = _read_object(
            {name: value for name, value in document.items() if name != "adapters"}, _PROMPT_FIELDS, what="event"
        )
        prompts = (_read_object(prompt, _WEIGHTED_FIELDS, what="prompt") for prompt in read["prompts"])
        given = {name: read[name] for name in ("mode", "sink", "transition_chunks", "event_id")}
        weighted = tuple(WeightedPrompt(**prompt) for prompt in prompts)
        event = PromptEvent(block=_counted(read, "block"), prompts=weighted, adapters=chosen, **given)
        check_event(event)
        return event
    expected = "type prompt, take, attempt or opening"
    raise RestoreError(f"a journal's event must be of {expected}, not {_short(kind)}", field="type")


def _read_adapters(document: Mapping[str, Any]) -> tuple[AdapterChoice, ...] | None:
    if "adapters" not in document:
        return None
    listed = document["adapters"]
    if not isinstance(listed, list | tuple):
        raise RestoreError(f"adapters of a journal's event must be a list, not {_short(listed)}", field="adapters")
    read = (_read_object(item, _ADAPTER_FIELDS, what="adapter") for item in listed)
    return tuple(AdapterChoice(item["name"], float(item["scale"])) for item in read)


def _read_opening(read: Mapping[str, Any]) -> OpeningEvent:
    if read["block"] != 0 or not 1 <= read["blocks"] <= MAX_OPENING_BLOCKS:
        found = f"{_short(read['blocks'])} at block {_short(read['block'])}"
        message = f"an opening must be of 1..{MAX_OPENING_BLOCKS} blocks at block 0, not {found}"
        raise RestoreError(message, field="blocks")
    return OpeningEvent(blocks=read["blocks"])


def _read_object(document: object, fields: Mapping[str, type], *, what: str) -> dict[str, Any]:
    """A JSON object with just these fields, each of the type it is written in: nothing is converted or guessed."""
    if not isinstance(document, dict):
        raise RestoreError(f"a {what} of a journal must be an object, not {_short(document)}", field=what)
    for name in [*fields, *document]:
        if name not in document or name not in fields:
            message = f"a {what} of a journal has the fields {', '.join(fields)}, not {', '.join(document)}"
            raise RestoreError(message[:MAX_MESSAGE], field=name[:MAX_MESSAGE])
        # `type(...) is`, for True is an int to isinstance. A weight may be written without its point.
        fits = type(document[name]) is fields[name] or (fields[name] is float and type(document[name]) is int)
        if not fits:
            message = f"{name} of a journal's {what} must be of type {fields[name].__name__}"
            raise RestoreError(f"{message}, not {_short(document[name])}", field=name)
    return document


def _counted(read: Mapping[str, Any], name: str) -> int:
    count: int = read[name]
    if count < 0:
        raise RestoreError(f"{name} of a journal's event must be 0 or more, not {_short(count)}", field=name)
    return count


def _short(value: object) -> str:
    return repr(value)[:60]


def check_event(event: PromptEvent) -> None:
    """Raise PromptError or ChangeError, naming the field, unless the change can be made."""
    _check_prompts(event.prompts)
    if event.mode not in MODES:
        raise ChangeError(f"mode must be one of {', '.join(MODES)}, not {_short(event.mode)}", field="mode")
    if event.sink not in SINK_POLICIES:
        message = f"sink must be one of {', '.join(SINK_POLICIES)}, not {_short(event.sink)}"
        raise ChangeError(message, field="sink", code="sink_invalid")
    most = 0 if event.mode == "cut" else MAX_TRANSITION_CHUNKS
    if not 0 <= event.transition_chunks <= most:
        message = f"transition_chunks must be 0..{most} with mode {event.mode!r}, not {_short(event.transition_chunks)}"
        raise ChangeError(message, field="transition_chunks", code="transition_invalid")
    if event.adapters is not None and (event.mode == "keep" or event.reached != event.block):
        # The past has to be made anew with the weights, and weights do not fade.
        found = f"mode {event.mode!r} over {event.transition_chunks} blocks"
        message = f"adapters change with mode recache, flush or cut and no transition, not with {found}"
        raise ChangeError(message, field="adapters")


def _check_prompts(prompts: tuple[WeightedPrompt, ...]) -> None:
    if not 1 <= len(prompts) <= MAX_WEIGHTED_PROMPTS:
        message = f"prompts must be 1..{MAX_WEIGHTED_PROMPTS} weighted prompts, not {len(prompts)}"
        raise PromptError(message, field="prompts", code="prompts_invalid")
    for prompt in prompts:
        if not prompt.text.strip():
            message = "prompt must have at least one character that is not a space"
            raise PromptError(message, field="prompt", code="prompt_empty")
        if len(prompt.text) > MAX_PROMPT_CHARACTERS:
            message = f"prompt must be at most {MAX_PROMPT_CHARACTERS} characters, not {len(prompt.text)}"
            raise PromptError(message, field="prompt", code="prompt_too_long")
        # Bounded, so that the sum they are divided by is finite.
        if not 0 <= prompt.weight <= MAX_WEIGHT:
            message = f"weight must be 0..{MAX_WEIGHT:.0f}, not {_short(prompt.weight)}"
            raise PromptError(message, field="weight", code="weights_invalid")
    if not any(prompt.weight for prompt in prompts):
        message = "weight must be more than 0 for at least one of the prompts, all are 0"
        raise PromptError(message, field="weight", code="weights_invalid")


@dataclass(frozen=True, slots=True)
class Timeline:
    """The events that made the present take, in order of blocks; the first is the prompt the stream began with."""

    events: tuple[Event, ...]

    @property
    def first(self) -> PromptEvent:
        first = self.events[0]
        assert isinstance(first, PromptEvent), first
        return first

    @property
    def given(self) -> int:
        """How many blocks the stream was given at its beginning."""
        return next((event.blocks for event in self.events if isinstance(event, OpeningEvent)), 0)

    @staticmethod
    def of(events: Iterable[Event]) -> "Timeline":
        """Drop what rewinds took back. Raises RestoreError unless it begins with a prompt and blocks rise."""
        kept: list[Event] = []
        for event in events:
            if not kept and not (isinstance(event, PromptEvent) and event.block == 0):
                raise RestoreError(f"a journal must begin with a prompt at block 0, not {event}", field="events")
            if isinstance(event, TakeEvent):
                # What a stream began with stays, also in a rewind to its beginning.
                kept = kept[:1] + [other for other in kept[1:] if _outlasts(other, event)]
            elif isinstance(event, OpeningEvent) and len(kept) != 1:
                raise RestoreError("an opening must be right behind the first prompt of a journal", field="events")
            elif kept and event.block < kept[-1].block:
                message = f"journal blocks must rise, found {event.block} after {kept[-1].block}"
                raise RestoreError(message, field="events")
            kept.append(event)
        if not kept:
            raise RestoreError("a journal must begin with a prompt at block 0, it is empty", field="events")
        return Timeline(tuple(kept))

    def split(self, block: int) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
        """What holds at the end of block - 1, a take that begins with `block` included, and what is to come."""
        first, *rest = self.events
        past = [event for event in rest if event.block < block + isinstance(event, TakeEvent | OpeningEvent)]
        return (first, *past), tuple(event for event in rest if event not in past)


def _outlasts(event: Event, rewind: TakeEvent) -> bool:
    return event.block < rewind.block or isinstance(event, OpeningEvent)


def take_at(events: Iterable[Event], *, block: int) -> int:
    """The take that `block` was last made in, or is to be made in."""
    past, _ = Timeline.of(events).split(block)
    return next((event.take for event in reversed(past) if isinstance(event, TakeEvent)), 0)


def adapters_at(events: Iterable[Event], *, block: int) -> tuple[AdapterChoice, ...]:
    """The set of adapters that `block` is made with."""
    prompts = (event for event in events if isinstance(event, PromptEvent) and event.block <= block)
    chosen = [event.adapters for event in prompts if event.adapters is not None]
    return chosen[-1] if chosen else ()


def changes(events: Sequence[Event], *, before: int) -> list[Change]:
    """What prompt changes did to the past before blocks 0..before-1; `Change.event` is the place in `events`.

    A blend that a later prompt cut short did nothing to the past; one whose last block is where the later prompt
    begins did.
    """
    prompts = [(place, event) for place, event in enumerate(events) if isinstance(event, PromptEvent)]
    done = []
    for (place, event), (_, following) in pairwise([*prompts, (0, None)]):
        if event is None or place == 0 or event.reached >= before:
            continue
        if following is None or following.block >= event.reached:
            done.append(Change(event.reached, event.mode, event.sink, place))
    return done
