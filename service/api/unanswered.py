"""Commands that the worker has not answered yet, in order, so that another worker can be given them again.

It knows which event answers which command; nothing of sockets or of what commands do. Invariants: a command is held
until its answer comes, once; an answer that was passed on before the worker was lost is not passed on again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from service import ipc

Answerable = ipc.Interact | ipc.Control | ipc.Rewind


@dataclass(slots=True)
class _Held:
    command: Answerable
    sent: bool = False


class Unanswered:
    def __init__(self) -> None:
        self._waiting: list[_Held] = []
        self._queued: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def hold(self, command: Answerable) -> None:
        """It is to be sent."""
        self._waiting.append(_Held(command))

    def restore(self, command: ipc.Interact) -> None:
        """It was accepted before the session came here, and its worker is told with the start."""
        self._waiting.append(_Held(command, sent=True))
        self._queued.add(command.event_id)

    def first_interactions(self) -> tuple[ipc.Interact, ...]:
        """The prompts that wait before anything else does: to be told with a start, and counted as told."""
        first = []
        for held in takewhile(lambda held: isinstance(held.command, ipc.Interact), self._waiting):
            assert isinstance(held.command, ipc.Interact)
            held.sent = True
            first.append(held.command)
        return tuple(first)

    def to_send(self) -> Answerable | None:
        """The oldest that this worker has not been told, which counts as told from now on."""
        for held in self._waiting:
            if not held.sent:
                held.sent = True
                return held.command
        return None

    def lost(self) -> None:
        """Another worker will have to be told all of them."""
        for held in self._waiting:
            held.sent = False

    def answer(self, event: ipc.SessionEvent) -> Answerable | None:
        """Takes out the command that this event answers."""
        match event:
            case ipc.Applied() | ipc.Superseded():
                return self._take(lambda held: isinstance(held, ipc.Interact) and held.event_id == event.event_id)
            case ipc.Rejected():
                return self._take(lambda held: not isinstance(held, ipc.Control) and held.event_id == event.event_id)
            case ipc.Rewound():
                self._let_through()
                return self._take(lambda held: isinstance(held, ipc.Rewind) and held.event_id == event.event_id)
            case ipc.ControlApplied():
                return self._take(
                    lambda held: (
                        isinstance(held, ipc.Control) and (held.action, held.event_id) == (event.action, event.event_id)
                    )
                )
        return None

    def first_queued(self, event: ipc.Queued) -> bool:
        """Whether this is the first time that the interaction is said to be accepted."""
        new = event.event_id not in self._queued
        self._queued.add(event.event_id)
        return new

    def _let_through(self) -> None:
        """What follows a rewind is another video, of which nothing was made."""
        for held in self._waiting:
            if isinstance(held.command, ipc.Interact):
                held.command = ipc.changed(held.command, not_before=0.0)

    def _take(self, answered: Callable[[Answerable], bool]) -> Answerable | None:
        for index, held in enumerate(self._waiting):
            if answered(held.command):
                del self._waiting[index]
                self._queued.discard(held.command.event_id)
                return held.command
        return None
