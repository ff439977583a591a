"""The worker's part of a trace: each chunk that leaves is told as a span, with its stages below it.

It knows commands, events and traces; nothing of blocks or sessions beyond their names. Invariants: what goes through
is not changed nor held up; a session whose start named no trace has none.
"""

import time
from collections.abc import Callable
from typing import Protocol

from service.channel import Arrival
from service.ipc import Chunk, Ended, Event, Failed, Start
from service.telemetry.tracing import Tracing

STAGES = ("text", "recache", "denoise", "clean", "decode", "encode")


class Channel(Protocol):
    """The worker's end of the channel."""

    def send(self, event: Event) -> None: ...
    def drain(self) -> list[Arrival]: ...
    def wait(self, timeout: float) -> list[Arrival]: ...
    def wake(self) -> None: ...


class TracedChannel:
    """`clock` is in seconds since 1970."""

    def __init__(self, channel: Channel, tracing: Tracing, *, clock: Callable[[], float] = time.time) -> None:
        self._channel = channel
        self._tracing = tracing
        self._clock = clock
        self._traces: dict[str, str] = {}

    def send(self, event: Event) -> None:
        if isinstance(event, Chunk) and (trace := self._traces.get(event.session)):
            self._tell(event, trace)
        elif isinstance(event, Ended | Failed):
            self._traces.pop(event.session, None)
        self._channel.send(event)

    def drain(self) -> list[Arrival]:
        return self._noted(self._channel.drain())

    def wait(self, timeout: float) -> list[Arrival]:
        return self._noted(self._channel.wait(timeout))

    def wake(self) -> None:
        self._channel.wake()

    def _noted(self, arrivals: list[Arrival]) -> list[Arrival]:
        for arrival in arrivals:
            if isinstance(arrival.command, Start) and arrival.command.traceparent:
                self._traces[arrival.command.session] = arrival.command.traceparent
        return arrivals

    def _tell(self, chunk: Chunk, trace: str) -> None:
        """Stages are laid one after the other, up to now: what lies between them is waiting, which is not told."""
        costs = [(stage, getattr(chunk.timings, stage) / 1000) for stage in STAGES]
        ended = self._clock()
        began = ended - sum(seconds for _, seconds in costs)
        place: dict[str, str | int] = {"longtake.session": chunk.session, "longtake.sequence": chunk.sequence}
        attributes = place | {"longtake.block": chunk.block, "longtake.attempt": chunk.attempt}
        span = self._tracing.tell("chunk", parent=trace, began=began, ended=ended, attributes=attributes)
        for stage, seconds in costs:
            if seconds > 0:
                self._tracing.tell(stage, parent=span, began=began, ended=began + seconds, attributes=place)
            began += seconds
