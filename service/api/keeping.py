"""What becomes of a session in the store when its hub is done with it: ended, or left for another process.

It knows the store and how the session was opened; nothing of listeners or workers. Invariants: a session that goes on
elsewhere is not ended here; one that could not be gone on with is left as it was found; an end is written behind all
that was to be written before it, or with a note of what is missing.
"""

import contextlib
import json

from service.api.ledger import Ledger
from service.api.opening import Opening
from service.api.services import Services
from service.errors import ErrorCode, SessionError
from service.store.failures import HoldLost
from service.store.prompts import AcceptedPrompt
from service.store.records import EndReason


class Keeping:
    def __init__(self, opening: Opening, services: Services, *, ledger: Ledger) -> None:
        self.ledger = ledger
        self._opening = opening
        self._store = services.store
        self._grace = services.config.resume_grace
        self._remembered = services.config.remembered_events
        self._early: list[AcceptedPrompt] = []
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

    async def begin(self) -> None:
        """The store has it now, and with it what was accepted before. Raises SessionError."""
        while self._early:
            await self._accept(self._early.pop(0))
        self.begun = True

    async def accept(self, prompt: AcceptedPrompt) -> None:
        """The prompt is in the store, or will be: with the session's record, or when the store takes something again.

        Raises SessionError.
        """
        if self.begun:
            await self._accept(prompt)
        else:
            self._early.append(prompt)

    async def accepted(self) -> None:
        """Returns when all that was taken in before is in the store. Raises SessionError."""
        if not self.ledger.behind:
            await self._store.write(lambda _: None)

    async def _accept(self, prompt: AcceptedPrompt) -> None:
        await self.ledger.write(lambda: self._store.accept_prompt(self._opening.session, prompt, keep=self._remembered))

    async def note(self, text: str) -> None:
        """A JSON object with a `type`, for the session's record. Raises SessionError."""
        await self.ledger.write(lambda: self._store.append_note(self._opening.session, text))

    async def caught_up(self) -> bool:
        """Whether the store has all that was made, so that another worker can go on behind it.

        Raises SessionError where it never will: what it lacks was in the lost worker's memory.
        """
        if await self.ledger.settle():
            return True
        if self.ledger.waits_for_latents:
            first = self.ledger.first_unwritten
            message = f"The engine stopped while the disk took nothing: chunks from {first} on are lost."
            raise SessionError(ErrorCode.STORE_FAILED, message)
        return False

    async def end(self, reason: EndReason) -> None:
        """Raises SessionError."""
        if not self.begun:
            return
        session = self._opening.session
        try:
            if not await self.ledger.settle():
                note = {"type": "not_stored", "from_sequence": self.ledger.first_unwritten}
                await self._store.append_note(session, json.dumps(note))
            await self._store.end_session(session, reason)
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
