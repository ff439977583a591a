"""Sessions of jobs, which are made in the gaps that live sessions leave: in a worker, but without a place of their own.

It knows seats, commands and listeners; nothing of places, leases or jobs. Invariants: no worker has more than `limit`
of them from here; one whose worker is lost is forgotten at once, for whoever runs its job begins another attempt.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from service import ipc
from service.api.seats import Seat
from service.api.worker_link import Listener, SessionCommand
from service.errors import CapacityError, ErrorCode

Send = Callable[[Seat | None, ipc.Command], Awaitable[None]]


@dataclass(slots=True)
class _Held:
    seat: Seat
    listener: Listener | None
    until: float | None = None
    """When it counts as ended, told to stop as it was, even if the worker does not say so."""


class Background:
    def __init__(self, *, limit: int, patience: float, send: Send) -> None:
        self._limit = limit
        self._patience = patience
        self._send = send
        self._held: dict[str, _Held] = {}

    def __contains__(self, session: str) -> bool:
        return session in self._held

    def room(self, seats: Iterable[Seat]) -> int:
        """How many more would be taken now."""
        return sum(max(0, self._limit - self._in(seat)) for seat in seats if seat.ready)

    def _in(self, seat: Seat) -> int:
        return sum(held.seat is seat for held in self._held.values())

    async def open(self, seats: Iterable[Seat], start: ipc.Start, *, listener: Listener) -> None:
        """In the worker that has fewest of them. Raises CapacityError."""
        ready = [seat for seat in seats if seat.ready and self._in(seat) < self._limit]
        if not ready:
            raise CapacityError("Every worker has the jobs that it can do at once.")
        seat = min(ready, key=self._in)
        self._held[start.session] = _Held(seat, listener)
        await self._send(seat, start)

    async def pass_on(self, command: SessionCommand, now: float) -> None:
        """A command for one of them."""
        held = self._held[command.session]
        if isinstance(command, ipc.Stop):
            held.until = now + self._patience
        await self._send(held.seat, command)

    async def release(self, session: str, now: float) -> None:
        """Nobody listens any more: it is told to stop."""
        self._held[session].listener = None
        await self.pass_on(ipc.Stop(session=session), now)

    def deliver(self, seat: Seat, event: ipc.SessionEvent) -> None:
        held = self._held[event.session]
        if held.seat is not seat:
            return
        if isinstance(event, ipc.Ended | ipc.Failed):
            del self._held[event.session]
        if held.listener is not None:
            held.listener.deliver(event)

    def lost(self, seat: Seat, reason: str) -> None:
        """A worker is gone, and with it what it was making."""
        for session in [session for session, held in self._held.items() if held.seat is seat]:
            listener = self._held.pop(session).listener
            if listener is not None:
                listener.worker_lost(reason)

    def draining(self, seconds: float) -> None:
        for held in self._held.values():
            if held.listener is not None:
                held.listener.draining(seconds)

    def end_all(self, code: ErrorCode, message: str) -> None:
        """Nothing more comes of any."""
        ended, self._held = list(self._held.values()), {}
        for held in ended:
            if held.listener is not None:
                held.listener.end(code, message)

    def look(self, now: float) -> None:
        """Forgets those that were told to stop and whose worker does not say that they did."""
        for session, held in list(self._held.items()):
            if held.until is not None and held.until <= now:
                del self._held[session]
