"""Who directs a session and who watches it.

It knows listeners as values that can be told apart, nothing of what they are. Invariants: there is one director at
most; whoever directs does not watch too; direction is taken only where it was offered or given up.
"""

from typing import Generic, TypeVar

from service.errors import ErrorCode, ProtocolError

Listener = TypeVar("Listener")


class Direction(Generic[Listener]):
    """`shared`: whoever watches may direct as well."""

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared
        self.director: Listener | None = None
        self.offered = False
        self._viewers: dict[Listener, None] = {}

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def everybody(self) -> tuple[Listener, ...]:
        """The director first, if there is one."""
        director = () if self.director is None else (self.director,)
        return (*director, *self._viewers)

    def lead(self, listener: Listener) -> Listener | None:
        """It directs now. Returns who did before, who is out."""
        before, self.director, self.offered = self.director, listener, False
        self._viewers.pop(listener, None)
        return before if before is not listener else None

    def watch(self, listener: Listener) -> None:
        assert listener is not self.director, "the director watches already"
        self._viewers[listener] = None

    def leave(self, listener: Listener) -> bool:
        """It is gone. True: it was the director."""
        self._viewers.pop(listener, None)
        if self.director is not listener:
            return False
        self.director = None
        return True

    def check(self, listener: Listener, event_id: str = "") -> None:
        """Raises ProtocolError where this listener may not direct."""
        if listener is self.director or (self.shared and listener in self._viewers):
            return
        raise ProtocolError(
            ErrorCode.NOT_DIRECTOR,
            "This connection watches the session.",
            field="type",
            expected="a message of a viewer, or session.direct first",
            event_id=event_id,
        )

    def offer(self, listener: Listener) -> None:
        """The director lets any viewer take over. Raises ProtocolError."""
        self._check_director(listener)
        self.offered = True

    def release(self, listener: Listener) -> None:
        """The director watches from now on, and nobody directs. Raises ProtocolError."""
        self._check_director(listener)
        self.director, self.offered = None, True
        self._viewers[listener] = None

    def take(self, listener: Listener) -> Listener | None:
        """A viewer directs from now on. Returns the director before, who watches now. Raises ProtocolError."""
        if listener is self.director:
            return None
        if not self.offered:
            raise ProtocolError(
                ErrorCode.DIRECTION_NOT_OFFERED,
                "The director has not offered to hand over.",
                field="action",
                expected="an offer by the director first",
            )
        before = self.lead(listener)
        if before is not None:
            self._viewers[before] = None
        return before

    def _check_director(self, listener: Listener) -> None:
        if listener is not self.director:
            raise ProtocolError(
                ErrorCode.NOT_DIRECTOR, "Only the director can hand over.", field="action", expected='"take"'
            )
