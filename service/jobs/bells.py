"""Bells that ring when a job or a batch has changed, for those who wait in this process.

Knows names only. Invariants: whoever listens before looking misses no change; a name that nobody listens to costs
nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterator


class Bells:
    def __init__(self) -> None:
        self._listening: dict[str, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        """Names that somebody listens to."""
        return len(self._listening)

    def ring(self, *names: str) -> None:
        for name in names:
            for bell in self._listening.get(name, ()):
                bell.set()

    @contextlib.contextmanager
    def listening(self, name: str) -> Iterator[asyncio.Event]:
        """A bell that is set at each change until the listener clears it."""
        bell = asyncio.Event()
        self._listening.setdefault(name, set()).add(bell)
        try:
            yield bell
        finally:
            self._listening[name].discard(bell)
            if not self._listening[name]:
                del self._listening[name]


async def rung(bell: asyncio.Event, timeout: float) -> None:
    """Until it rings, or `timeout` seconds are over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await bell.wait()
