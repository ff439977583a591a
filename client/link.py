"""A session's connection, and the next one when that is lost.

Knows sockets, attempts and what is said first; nothing of chunks or of what messages mean. Invariants: one task
receives and reopens, any may send; a message that is sent while the connection is down waits for the next one, or for
the end; every wait is bounded.
"""

import asyncio
import time
from contextlib import suppress

from client.comeback import Attempts, Comeback
from client.connection import ClientOptions, Connection
from client.errors import ClientError, ConnectFailed, ConnectionLost, WaitTimeout
from service.protocol import ClientMessage


class Link:
    def __init__(self, url: str, connection: Connection, *, options: ClientOptions) -> None:
        self.comeback = Comeback()
        self.url = url
        self._connection = connection
        self._options = options
        self._attempts: Attempts | None = None
        self._settled = asyncio.Event()
        self._settled.set()
        self._ended = False

    @property
    def is_down(self) -> bool:
        """The connection was lost, and the server has not yet said that the session goes on."""
        return self._attempts is not None

    async def send(self, message: ClientMessage) -> None:
        """Raises ConnectionLost if the connection is lost for good, WaitTimeout."""
        if self.is_down:
            await self._settle_in_time()
        while True:
            connection = self._connection
            try:
                return await connection.send(message)
            except ConnectionLost:
                # The reader comes to the same end, and gets another connection or reads why there is none.
                if not await self._another(connection):
                    raise

    async def _another(self, old: Connection) -> bool:
        if self._connection is old:
            self._settled.clear()
        await self._settle_in_time()
        return self._connection is not old and not self._ended

    async def _settle_in_time(self) -> None:
        """Until the session goes on or has ended, as long as that can take."""
        coming = self.comeback.grace + self._options.open_timeout if self._may_come_back else 0.0
        with suppress(TimeoutError):
            async with asyncio.timeout(max(coming, self._options.close_timeout)):
                await self._settled.wait()

    async def receive(self, limit: float | None) -> str | bytes:
        """The next message. Raises ConnectionLost, WaitTimeout: then `reopen`."""
        return await self._connection.receive(limit)

    async def reopen(self, lost: ClientError, *, last_sequence: int | None) -> bool:
        """Connect again and say hello. True if this is the first attempt after a loss.

        Raises the first loss once there is nothing to come back with, or no time left.
        """
        first = self._attempts is None
        if self._attempts is None:
            self._settled.clear()
            self._attempts = Attempts(
                lost,
                until=time.monotonic() + self.comeback.grace,
                first_delay=self._options.reconnect_delay,
                longest_delay=self._options.reconnect_delay_max,
            )
        self._connection.abort()
        while not await self._attempt(self._attempts, last_sequence):
            pass
        return first

    async def _attempt(self, attempts: Attempts, last_sequence: int | None) -> bool:
        hello, wait = self.comeback.hello(last_sequence), attempts.wait(time.monotonic())
        if hello is None or wait is None or not self._may_come_back:
            raise attempts.lost
        await asyncio.sleep(wait)
        try:
            connection = await Connection.open(self.url, self._options)
        except ConnectFailed:
            return False
        try:
            await connection.send(hello)
        except (ConnectionLost, WaitTimeout):
            connection.abort()
            return False
        self._connection = connection
        return True

    @property
    def _may_come_back(self) -> bool:
        return self._options.reconnect and self.comeback.hello(None) is not None

    def settle(self) -> None:
        """The session goes on over this connection."""
        self._attempts = None
        self._settled.set()

    def end(self) -> None:
        """There will be no other connection."""
        self._ended = True
        self._settled.set()

    async def close(self, code: int = 1000) -> None:
        self.end()
        await self._connection.close(code)
