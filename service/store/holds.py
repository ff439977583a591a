"""The sessions that this process holds, and the resume tokens it gives: what other processes on the store may rely on.

Knows the writer and the SQL of holds; nothing of hubs or sockets. Invariants: a write to a session that was taken over
by another process raises HoldLost and changes nothing; what is given to `put_token` is committed before any later write
of this process.
"""

import contextlib
import time
from collections.abc import Callable

from sqlalchemy import Connection

from service.store import holding, queries
from service.store.failures import HoldLost, SessionLive, StoreClosed
from service.store.holding import Claim, Holder
from service.store.writer import Writer


class HoldBook:
    def __init__(self, writer: Writer, holder: Holder) -> None:
        self._writer = writer
        self._holder = holder
        self._fences: dict[str, int] = {}

    @property
    def holder(self) -> str:
        """The name of this process among those that share the store."""
        return self._holder.name

    def begin(self, connection: Connection, session: str) -> None:
        """In a transaction: the session is this process's from its commit on."""
        self._fences[session] = holding.take(connection, session, holder=self._holder, now=time.time())

    def check(self, connection: Connection, session: str) -> None:
        """In a transaction that writes to the session. Raises HoldLost."""
        fence = self._fences.get(session)
        if fence is not None:
            holding.check(connection, session, fence=fence)

    def require(self, connection: Connection, session: str) -> None:
        """As `check`, for what only the session's holder may write. Raises HoldLost."""
        if session not in self._fences:
            raise HoldLost(session)
        self.check(connection, session)

    def forget(self, session: str) -> None:
        """It has ended here."""
        self._fences.pop(session, None)

    async def claim(self, session: str, digest: str, *, grace: float) -> Claim:
        """Take a session over by its token. Raises SessionUnknown, TokenRefused, or SessionLive if it is here."""
        if session in self._fences:
            raise SessionLive(session)

        def work(connection: Connection) -> Claim:
            now = time.time()
            return holding.claim(connection, session, digest=digest, holder=self._holder, now=now, grace=grace)

        claim = await self._writer.do(work)
        self._fences[session] = claim.fence
        return claim

    async def let_go(self, session: str, *, seconds: float) -> None:
        """It stays live, for another process (or this one) to take over within `seconds`. Raises HoldLost."""

        def work(connection: Connection) -> None:
            self.check(connection, session)
            holding.let_go(connection, session, until=time.time() + seconds)

        await self._writer.do(work)
        self.forget(session)

    async def held_elsewhere(self, session: str) -> bool:
        """Another process has it and is there."""
        now = time.time()
        return await self._writer.do(
            lambda connection: holding.held_elsewhere(connection, session, holder=self._holder, now=now)
        )

    async def renew(self) -> None:
        """This process is there."""
        await self._writer.do(lambda connection: holding.renew(connection, self._holder, now=time.time()))

    async def end_abandoned(self, *, grace: float) -> tuple[str, ...]:
        """Ends live sessions whose process is gone, and to which nobody came back for `grace` seconds."""

        def work(connection: Connection) -> tuple[str, ...]:
            now = time.time()
            holding.drop_unfinished(connection, now=now)
            gone = holding.abandoned(connection, before=now - grace)
            for session in gone:
                queries.end_session(connection, session, reason="interrupted", at=now)
            return gone

        return await self._writer.do(work)

    # Tokens, by their hashes. They are written behind: in the order of this process's writes.

    def put_token(self, session: str, digest: str, *, until: float | None) -> None:
        """`until`: seconds since 1970; None: while the session lives."""
        self._behind(lambda connection: holding.put_token(connection, session, digest=digest, until=until))

    def use_token(self, session: str, digest: str) -> None:
        self._behind(lambda connection: holding.use_token(connection, session, digest=digest))

    def confirm_token(self, session: str) -> None:
        self._behind(lambda connection: holding.confirm_token(connection, session))

    def drop_token(self, session: str) -> None:
        self._behind(lambda connection: holding.drop_token(connection, session))

    def _behind(self, work: Callable[[Connection], None]) -> None:
        with contextlib.suppress(StoreClosed):  # the process ends: its sessions have been told
            self._writer.submit(work)
