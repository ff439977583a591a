"""Server-sent events, one after the other, over as many connections as it takes.

Knows the text of the stream and HTTP; nothing of what events mean. Invariants: no event comes twice, and none is left
out that the server still knows; a silence is bounded; giving up is bounded, too.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse

from client.errors import ConnectFailed, ConnectionLost
from client.http import Ask, Server

_MOST_LINE = 1 << 20
_NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class ServerEvent:
    id: str
    name: str
    data: str


async def events(
    server: Server,
    path: str,
    *,
    is_last: Callable[[ServerEvent], bool],
    attempts: int = 8,
    pause: float = 0.5,
) -> AsyncGenerator[ServerEvent, None]:
    """Until the last one, or until the server has nothing more to say.

    Args:
        attempts: connections that may fail one after the other; one that brought an event does not count.
        pause: seconds before the second, doubled for each further one.

    Raises:
        RequestRefused: there is no such stream. ConnectionLost: it was lost, and does not come back.
    """
    last, failed = "", 0
    while failed < attempts:
        if failed:
            await asyncio.sleep(pause * 2 ** (failed - 1))
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        failed += 1
        answer = await _opened(server, Ask(path, headers=headers))
        if answer is None:
            continue
        if answer.status == _NO_CONTENT:
            answer.close()
            return
        async for event in _connection(answer):
            last, failed = event.id or last, 0
            yield event
            if is_last(event):
                return
    raise ConnectionLost(f"the events at {path} were lost, and did not come back")


async def _opened(server: Server, asked: Ask) -> HTTPResponse | None:
    """None where there is no server now. Raises RequestRefused."""
    with suppress(ConnectFailed):
        return await server.open(asked)
    return None


async def _connection(answer: HTTPResponse) -> AsyncGenerator[ServerEvent, None]:
    """What comes over one connection, whatever ends it. A thread reads, and lets go by itself when nobody listens."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Queue[ServerEvent | None]()
    left = threading.Event()

    def read() -> None:
        with closing(answer), suppress(OSError, HTTPException, ValueError, RuntimeError):
            for event in read_events(answer):
                if left.is_set():
                    return
                loop.call_soon_threadsafe(waiting.put_nowait, event)
        with suppress(RuntimeError):  # the loop is over
            loop.call_soon_threadsafe(waiting.put_nowait, None)

    threading.Thread(target=read, name="longtake-client-events", daemon=True).start()
    try:
        while (event := await waiting.get()) is not None:
            yield event
    finally:
        left.set()


def read_events(answer: HTTPResponse) -> Iterator[ServerEvent]:
    """Fields of an event stand on lines of their own; an empty line ends it; lines that begin with `:` say nothing."""
    fields: dict[str, str] = {}
    while line := answer.readline(_MOST_LINE):
        name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        if name:
            known = fields.get(name)
            value = value.removeprefix(" ")
            fields[name] = f"{known}\n{value}" if name == "data" and known is not None else value
            continue
        if not line.strip() and "data" in fields:
            yield ServerEvent(fields.get("id", ""), fields.get("event", "message"), fields["data"])
        if not line.strip():
            fields = {}
