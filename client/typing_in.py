"""What is typed while a take runs: a prompt, or a word with a slash before it.

Knows sessions; nothing of terminals. Invariant: a line that cannot be obeyed is answered with a sentence and changes
nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import MappingProxyType
from typing import TextIO

from client.client import Session
from client.errors import ClientError
from client.requests import Place
from client.switch import Switch
from client.terminal import read_lines
from service.errors import ProtocolError

HELP = "type a prompt, or /cut PROMPT, /pause, /resume, /rewind SECONDS, /stop"
_MOST_LINES = 64


class Typing:
    """Reads lines of `source` and does what they say. `said` is called with what there is to say about each."""

    def __init__(
        self, session: Session, source: TextIO, *, said: Callable[[str], None], on_switch: Callable[[Switch], None]
    ) -> None:
        self._session = session
        self._source = source
        self._said = said
        self._on_switch = on_switch

    async def run(self) -> None:
        """Until it is cancelled."""
        loop, lines = asyncio.get_running_loop(), asyncio.Queue[str](_MOST_LINES)

        def put(line: str) -> None:
            if not lines.full():
                lines.put_nowait(line)

        def hand_over(line: str) -> None:
            with suppress(RuntimeError):  # the take is over, and its loop with it
                loop.call_soon_threadsafe(put, line)

        read_lines(self._source, hand_over)
        while True:
            line = await lines.get()
            try:
                self._said(await self._obey(line))
            except (ClientError, ProtocolError, ValueError) as error:
                self._said(f"not done: {error}")

    async def _obey(self, line: str) -> str:
        if not line.startswith("/"):
            self._on_switch(await self._session.prompt(line))
            return f"sent: {line}"
        word, _, rest = line[1:].partition(" ")
        if word not in _WORDS:
            return HELP
        return await _WORDS[word](self, rest.strip())

    async def _cut(self, prompt: str) -> str:
        self._on_switch(await self._session.prompt(prompt, mode="cut"))
        return f"a new scene: {prompt}"

    async def _pause(self, _rest: str) -> str:
        await self._session.pause()
        return "paused; /resume goes on"

    async def _resume(self, _rest: str) -> str:
        await self._session.resume()
        return "goes on"

    async def _rewind(self, seconds: str) -> str:
        await self._session.rewind(Place(seconds=float(seconds)))
        return f"back to {float(seconds):g} s"

    async def _stop(self, _rest: str) -> str:
        await self._session.stop()
        return "stopped"


_WORDS: MappingProxyType[str, Callable[[Typing, str], Awaitable[str]]] = MappingProxyType(
    {
        "cut": Typing._cut,
        "pause": Typing._pause,
        "resume": Typing._resume,
        "rewind": Typing._rewind,
        "stop": Typing._stop,
    }
)
