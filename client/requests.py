"""What a program asks for, as messages that any server would accept, or an error that names what is wrong.

Knows the protocol's models; nothing of sockets. Invariant: a value that cannot be right is refused here with the
very code and field that the server would name (ProtocolError, a ValueError); only limits that are a server's own,
such as the length of a prompt, are left to it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from service.protocol import Limits, parse_client_message
from service.protocol.client import (
    ControlAction,
    MediaFormat,
    Pacing,
    PromptMode,
    SessionCheckpoint,
    SessionControl,
    SessionFork,
    SessionInteraction,
    SessionJoin,
    SessionPlayback,
    SessionStart,
    SinkPolicy,
    SlowConsumer,
    WeightedPrompt,
)

Prompt = str | Sequence[WeightedPrompt]

_NO_LIMIT = Limits(prompt_chars=sys.maxsize)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A low-rank adapter by the name the server knows it by, and how much of it."""

    name: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Model:
    """A model by its name.

    Args:
        adapters: the whole set it is used with; None is the server's usual one, () is none at all.
    """

    name: str = "demo"
    adapters: Sequence[Adapter] | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """What the frames look like on the wire, and what the first ones show; a size of None is the model's own.

    Args:
        picture: a PNG, JPEG or WebP file, or where it lies: the video begins with it, held for one block, and goes on
            from there. The models were not trained for it.
    """

    format: MediaFormat = "jpeg"
    quality: int = 85
    width: int | None = None
    height: int | None = None
    picture: bytes | Path | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the video comes and who may direct it.

    Args:
        slow_consumer: what the server does when this program, or the way to it, is too slow.
        buffer_seconds: how far the video may be made ahead of the viewer; a new prompt takes back what nobody has seen.
        shared_direction: viewers may direct too.
        unattended: the video goes on being made when nobody is connected.
    """

    slow_consumer: SlowConsumer = "pause"
    buffer_seconds: float = 0.0
    shared_direction: bool = False
    unattended: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a session: where chunk `sequence` begins, or the block that is on screen at `seconds`.

    Neither is the end. `same_noise`: what is made anew from there has the same noise as before.
    """

    sequence: int | None = None
    seconds: float | None = None
    same_noise: bool = False


@dataclass(frozen=True, slots=True)
class PromptChange:
    """A prompt for later, and what becomes of the past.

    Args:
        mode: `recache` rebuilds the past under the new prompt, `flush` keeps only its ends, `cut` nothing, `keep` all.
        transition_chunks: blocks over which the old prompt fades into the new.
        at: media second from which on it may take effect; None is at once.
        adapters: the whole set from then on; None leaves it as it is.
    """

    prompt: Prompt
    mode: PromptMode = "recache"
    sink: SinkPolicy = "keep"
    transition_chunks: int = 0
    at: float | None = None
    adapters: Sequence[Adapter] | None = None


def prompt_text(prompt: Prompt) -> str:
    """A prompt, or a blend of some, as one line for people."""
    return prompt if isinstance(prompt, str) else " + ".join(part.text for part in prompt)


def start_message(
    prompt: Prompt,
    *,
    model: str | Model,
    seed: int | None,
    media: Media,
    pacing: Pacing,
    max_seconds: float | None,
    delivery: Delivery | None = None,
) -> SessionStart:
    """Raises ProtocolError."""
    delivery = delivery or Delivery()
    model = Model(model) if isinstance(model, str) else model
    fields: dict[str, object] = {
        "type": "session.start",
        "model": model.name,
        "adapters": _adapters(model.adapters),
        "seed": seed,
        "width": media.width,
        "height": media.height,
        "format": media.format,
        "quality": media.quality,
        "pacing": pacing,
        "max_seconds": max_seconds,
        "slow_consumer": delivery.slow_consumer,
        "buffer_seconds": delivery.buffer_seconds or None,
        "shared_direction": delivery.shared_direction or None,
        "unattended": delivery.unattended or None,
    }
    message = _checked(prompt, fields)
    assert isinstance(message, SessionStart)
    return message


def interaction_message(change: PromptChange, event_id: str) -> SessionInteraction:
    """Raises ProtocolError."""
    fields: dict[str, object] = {
        "type": "session.interaction",
        "event_id": event_id,
        "mode": change.mode,
        "sink": change.sink,
        "transition_chunks": change.transition_chunks,
        "at": change.at,
        "adapters": _adapters(change.adapters),
    }
    message = _checked(change.prompt, fields)
    assert isinstance(message, SessionInteraction)
    return message


def control_message(action: ControlAction, quality: int | None = None, *, event_id: str) -> SessionControl:
    """Raises ProtocolError."""
    message = _parsed({"type": "session.control", "action": action, "quality": quality, "event_id": event_id})
    assert isinstance(message, SessionControl)
    return message


def rewind_message(place: Place, *, event_id: str) -> SessionControl:
    """Raises ProtocolError."""
    message = _parsed({"type": "session.control", "action": "rewind", **asdict(place), "event_id": event_id})
    assert isinstance(message, SessionControl)
    return message


def fork_message(place: Place, *, event_id: str) -> SessionFork:
    """Raises ProtocolError."""
    message = _parsed({"type": "session.fork", **asdict(place), "event_id": event_id})
    assert isinstance(message, SessionFork)
    return message


def checkpoint_message(name: str, *, event_id: str) -> SessionCheckpoint:
    """Raises ProtocolError."""
    message = _parsed({"type": "session.checkpoint", "name": name, "event_id": event_id})
    assert isinstance(message, SessionCheckpoint)
    return message


def join_message(session_id: str, *, slow_consumer: SlowConsumer) -> SessionJoin:
    """Raises ProtocolError."""
    message = _parsed({"type": "session.join", "session_id": session_id, "slow_consumer": slow_consumer})
    assert isinstance(message, SessionJoin)
    return message


def playback_message(
    position_seconds: float, *, buffered_seconds: float | None, dropped: int | None
) -> SessionPlayback:
    """Raises ProtocolError."""
    message = _parsed(
        {
            "type": "session.playback",
            "position_seconds": position_seconds,
            "buffered_seconds": buffered_seconds,
            "dropped": dropped,
        }
    )
    assert isinstance(message, SessionPlayback)
    return message


def _adapters(adapters: Sequence[Adapter] | None) -> list[dict[str, object]] | None:
    return None if adapters is None else [asdict(adapter) for adapter in adapters]


def _checked(prompt: Prompt, fields: Mapping[str, object]) -> object:
    if isinstance(prompt, str):
        worded: dict[str, object] = {"prompt": prompt}
    else:
        worded = {"prompts": [{"text": part.text, "weight": part.weight} for part in prompt]}
    return _parsed(dict(fields) | worded)


def _parsed(fields: Mapping[str, object]) -> object:
    given = {name: value for name, value in fields.items() if value is not None}
    return parse_client_message(json.dumps(given), _NO_LIMIT)
