"""An event loop that runs in a thread of its own, for programs that have none.

Knows asyncio only. Invariant: when it is closed, its thread has ended.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from client.errors import ClientStateError

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a thread until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="longtake-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises. An interrupt here, such as Ctrl-C, cancels it."""
        if self._loop.is_closed():
            work.close()
            raise ClientStateError("expected an open session, but its context was left")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Coroutine[Any, Any, object]) -> None:
        """Run `last`, then end the thread."""
        try:
            self.run(last)
            self.run(self._loop.shutdown_default_executor())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
