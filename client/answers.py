"""Answers that somebody waits for: each comes, is refused, or does not come in time.

Knows names and time-outs; nothing of messages or sockets. Invariant: every wait ends, with a value or an error of the
client's tree, and an answer that nobody waits for any more changes nothing.
"""

import asyncio
from typing import Generic, TypeVar

from client.errors import ClientError, WaitTimeout

T = TypeVar("T")


class Answer(Generic[T]):
    """One answer. Make it where an event loop runs."""

    def __init__(self) -> None:
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._limit: asyncio.Timeout | None = None
        self._seconds = 0.0

    @property
    def is_open(self) -> bool:
        """Nothing has come yet."""
        return not self._future.done()

    async def wait(self, seconds: float, what: str) -> T:
        """The answer, within `seconds`. Raises WaitTimeout, or the error that came instead."""
        self._seconds = seconds
        try:
            async with asyncio.timeout(seconds) as self._limit:
                return await self._future
        except TimeoutError as error:
            raise WaitTimeout(f"expected {what} within {self._seconds:g} s") from error

    def extend(self, seconds: float) -> None:
        """Whoever waits goes on for `seconds` from now."""
        if self._limit is not None and self.is_open:
            self._seconds = seconds
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)

    def give(self, value: T) -> None:
        if self.is_open:
            self._future.set_result(value)

    def fail(self, error: ClientError) -> None:
        if self.is_open:
            self._future.set_exception(error)
            self._future.exception()  # asked for here, so that nothing is logged if nobody waits any more


class Answers(Generic[T]):
    """Answers by name, each with somebody who waits."""

    def __init__(self) -> None:
        self._open: dict[str, Answer[T]] = {}

    def expect(self, name: str) -> Answer[T]:
        """An answer to wait for; `forget` it afterwards."""
        answer = Answer[T]()
        self._open[name] = answer
        return answer

    def forget(self, name: str) -> None:
        self._open.pop(name, None)

    def give(self, name: str | None, value: T) -> None:
        answer = self._open.get(name or "")
        if answer is not None:
            answer.give(value)

    def fail(self, name: str | None, error: ClientError) -> bool:
        """True if somebody waits for it."""
        answer = self._open.get(name or "")
        if answer is None:
            return False
        answer.fail(error)
        return True

    def end(self, error: ClientError) -> None:
        """None of them will come."""
        for answer in self._open.values():
            answer.fail(error)
