"""What becomes of a session in the store when its hub is done with it: ended, or left for another process.

It knows the store and how the session was opened; nothing of listeners or workers. Invariants: a session that goes on
elsewhere is not ended here; one that could not be gone on with is left as it was found.
"""

import contextlib

from service.api.opening import Opening
from service.api.services import Services
from service.errors import SessionError
from service.store.failures import HoldLost
from service.store.records import EndReason


class Keeping:
    def __init__(self, opening: Opening, services: Services) -> None:
        self._opening = opening
        self._store = services.store
        self._grace = services.config.resume_grace
        self.begun = opening.record is not None
        """The store has it."""
        self.left = False
        """Another process goes on with it, or may: its token is good there."""

    @property
    def goes_on(self) -> bool:
        """It was taken up from the store."""
        return self._opening.record is not None

    @property
    def family(self) -> str:
        """The session that this one, or its ancestors, were forked from."""
        record = self._opening.record
        return record.family if record else self._opening.session

    async def end(self, reason: EndReason) -> None:
        """Raises SessionError."""
        if not self.begun:
            return
        try:
            await self._store.end_session(self._opening.session, reason)
        except HoldLost:
            self.left = True
            raise

    async def leave(self) -> None:
        """It stays live, for whoever comes with its token within the grace. Raises SessionError."""
        self.left = True
        await self._store.holds.let_go(self._opening.session, seconds=self._grace)

    async def give_back(self) -> None:
        """It has not begun here: it is left as it was found."""
        record = self._opening.record
        if record is None:
            return
        self.left = True
        broke_off = record.end_reason in (None, "interrupted")
        with contextlib.suppress(SessionError):  # it may be the store that failed
            await (self.leave() if broke_off else self.end(record.end_reason or "stopped"))
