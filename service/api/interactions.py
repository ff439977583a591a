"""The interactions of one session: which are waiting, and which event ids are taken.

It knows nothing of the wire or the worker. Invariant: an id stands for one interaction; at most `waiting`
of them are under way and at most `remembered` are known, the oldest finished ones being forgotten first.
"""

import hashlib
from collections.abc import Iterable
from enum import Enum, auto

from service.errors import ErrorCode, ProtocolError
from service.protocol.client import SessionInteraction


class Acceptance(Enum):
    """What an interaction is: new, or one that was sent before and is only being asked about again."""

    NEW = auto()
    RETRY = auto()


def digest_of(message: SessionInteraction) -> str:
    """Two that ask for the same have the same."""
    return hashlib.sha256(message.model_dump_json().encode()).hexdigest()


class Interactions:
    def __init__(self, *, waiting: int, remembered: int) -> None:
        self._limit = waiting
        self._remembered = max(remembered, waiting)
        self._waiting: set[str] = set()
        self._digests: dict[str, str] = {}
        self.latest: tuple[str, ...] = ()
        """The texts of the prompt that was taken last, for hooks."""
        self.unwritten: list[str] = []
        """Notes of hooks about prompts that came before the session had a record."""
        self._recovered: set[str] = set()
        self._again: set[str] = set()

    def accept(self, message: SessionInteraction) -> Acceptance:
        """Takes the interaction in.

        Raises:
            ProtocolError: its id stands for another interaction, or too many are waiting.
        """
        if message.event_id in self._recovered or message.event_id in self._again:
            return Acceptance.RETRY
        digest = digest_of(message)
        known = self._digests.get(message.event_id)
        if known == digest:
            return Acceptance.RETRY
        if known is not None:
            raise ProtocolError(
                ErrorCode.EVENT_ID_CONFLICT,
                "This event_id was used for another interaction.",
                field="event_id",
                expected="an id that is new in this session",
                event_id=message.event_id,
            )
        if len(self._waiting) >= self._limit:
            raise ProtocolError(
                ErrorCode.INTERACTIONS_FULL,
                f"{len(self._waiting)} interactions are waiting for their block.",
                expected=f"at most {self._limit} waiting",
                event_id=message.event_id,
            )
        self._remember(message.event_id, digest)
        self._waiting.add(message.event_id)
        return Acceptance.NEW

    def reserve(self, event_id: str) -> None:
        """Takes an id for something else than an interaction: the session's first prompt."""
        self._remember(event_id, "")

    def restore(self, event_id: str, digest: str, *, waiting: bool) -> None:
        """It was accepted before the session came here, and may still wait."""
        self._remember(event_id, digest)
        if waiting:
            self._waiting.add(event_id)

    def forget(self, event_id: str) -> None:
        """It could not be taken in after all."""
        self._waiting.discard(event_id)
        self._digests.pop(event_id, None)

    def recover(self, event_id: str) -> None:
        """It was taken in before the session came here: who asks for it again is told so."""
        self._recovered.add(event_id)

    def applied_again(self, event_ids: Iterable[str]) -> tuple[str, ...]:
        """Of these, the recovered ones, which have taken effect now."""
        found = tuple(event_id for event_id in event_ids if event_id in self._recovered)
        self._recovered.difference_update(found)
        self._again.update(found)
        return found

    def finish(self, event_id: str) -> None:
        """It was applied, superseded or rejected. An id that is not waiting is nobody's concern."""
        self._waiting.discard(event_id)

    def end(self) -> tuple[str, ...]:
        """Forgets everything and returns what was still waiting, in order of arrival."""
        unfinished = tuple(event_id for event_id in self._digests if event_id in self._waiting)
        self._waiting.clear()
        self._digests.clear()
        return unfinished

    def _remember(self, event_id: str, digest: str) -> None:
        self._digests[event_id] = digest
        if len(self._digests) > self._remembered:
            ended = (known for known in self._digests if known not in self._waiting and known != event_id)
            oldest = next(ended, None)  # none where a server before this one took in more
            if oldest is not None:
                del self._digests[oldest]
