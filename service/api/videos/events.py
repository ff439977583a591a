"""Server-sent events: a job's states as a stream that a client can come back to.

It knows jobs' events and the text of the stream; nothing of how they come about. Invariants: ids rise; the last event
is the terminal one, and the stream ends behind it; a stream that says nothing else says that it is alive.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from service.config import ServiceConfig
from service.errors import ErrorCode, ProtocolError, SessionError
from service.jobs.values import JobEvent

MEDIA_TYPE = "text/event-stream"
RETRY_MS = 2000
_ALIVE = ": alive\n\n"


class EventStreams:
    """Counts the streams that are open."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._open = 0

    def __len__(self) -> int:
        return self._open

    def response(self, events: AsyncIterator[JobEvent], say: Callable[[JobEvent], BaseModel]) -> StreamingResponse:
        """Raises SessionError where there are too many already."""
        if self._open >= self._config.max_event_streams:
            raise SessionError(ErrorCode.CAPACITY, "Too many clients follow their jobs.")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._texts(events, say), media_type=MEDIA_TYPE, headers=headers)

    async def _texts(self, events: AsyncIterator[JobEvent], say: Callable[[JobEvent], BaseModel]) -> AsyncIterator[str]:
        with self._counted():
            yield f"retry: {RETRY_MS}\n\n"
            async for event in _with_pauses(events, self._config.event_keepalive):
                yield _ALIVE if event is None else text_of(event, say(event))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


def text_of(event: JobEvent, said: BaseModel) -> str:
    """One event. JSON has no line breaks, so the data is one line."""
    return f"id: {event.id}\nevent: video.{event.type}\ndata: {said.model_dump_json()}\n\n"


def last_event_id(request: Request, after: int | None) -> int:
    """Where a client left: its header, or else what it says in the query. Raises ProtocolError."""
    said = request.headers.get("last-event-id", "").strip()
    if not said:
        return after or 0
    if not said.isascii() or not said.isdecimal() or len(said) > 18:
        raise ProtocolError(
            ErrorCode.FIELD_TYPE, "Last-Event-ID is no id.", field="Last-Event-ID", expected="the id of an event"
        )
    return int(said)


async def _with_pauses(events: AsyncIterator[JobEvent], longest: float) -> AsyncIterator[JobEvent | None]:
    """The events, and None after each `longest` seconds without one."""
    following = asyncio.ensure_future(_next_of(events))
    try:
        while True:
            await asyncio.wait({following}, timeout=longest)
            if not following.done():
                yield None
                continue
            event = following.result()
            if event is None:
                return
            yield event
            following = asyncio.ensure_future(_next_of(events))
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def _next_of(events: AsyncIterator[JobEvent]) -> JobEvent | None:
    return await anext(events, None)
