"""One worker shared by several API processes: whose sessions are whose, and whose turn it is to be heard.

It knows the messages and a link to the worker; nothing of Ray. Invariants: a session belongs to one process, the last
that started it, and the one before hears that it is gone; never more live sessions than places; a process that is
silent for `silence` seconds is gone, and its sessions are told to stop; what waits for a process has a bound.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from service import ipc
from service.api.worker_link import LossKind, WorkerLink
from service.errors import ErrorCode

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShareLimits:
    places: int
    waiting: int
    """Messages that may wait for one process."""
    silence: float


@dataclass(slots=True)
class _Peer:
    """One API process."""

    heard_at: float
    waiting: deque[ipc.Event] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, event: ipc.Event) -> None:
        self.waiting.append(event)
        self.news.set()


@dataclass(slots=True)
class _Session:
    """`next` waits for this one, which another process had, to end in the worker."""

    owner: str | None
    background: bool
    next: str | None = None
    held: list[ipc.Command] = field(default_factory=list)
    """What the next has said so far."""


class Share:
    """What a supervisor serves in the place of a worker client. Every start of the worker is a generation."""

    def __init__(self, limits: ShareLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._link: WorkerLink | None = None
        self._peers: dict[str, _Peer] = {}
        self._sessions: dict[str, _Session] = {}
        self._ready: ipc.Ready | None = None
        self.generation = 0
        self.loss = ""
        self.stopping = False

    @property
    def live_sessions(self) -> int:
        return sum(not session.background for session in self._sessions.values())

    @property
    def ready(self) -> bool:
        return self._ready is not None

    # The worker's side

    async def serve(self, link: WorkerLink) -> None:
        """One start of the worker, until it is lost. Never raises for its faults."""
        self._link, self.loss = link, ""
        self.generation += 1
        try:
            while self._link is link:
                await self._receive_one(link)
        finally:
            self.lose("the link to the engine was closed", link=link)

    async def _receive_one(self, link: WorkerLink) -> None:
        try:
            event = await link.receive(1.0)
        except ipc.IpcError as error:
            self.lose(f"it could not be understood ({error})", link=link)
            return
        await self._forget_the_silent()
        match event:
            case None:
                return
            case ipc.Ready():
                self._ready = event
                self._tell_all(event)
            case ipc.Heartbeat():
                self._beat(event)
            case ipc.Dead():
                self.lose(event.message, link=link)
            case _:
                await self._route(event)

    def lose(self, reason: str, *, kind: LossKind = "ended", link: WorkerLink | None = None) -> None:
        """The worker is gone: every process hears it, and what was asked for is forgotten."""
        if self._link is None or (link is not None and link is not self._link):
            return
        logger.error("the worker is lost (%s): %s", kind, reason)
        self._link, self._ready, self.loss = None, None, reason
        self._sessions.clear()
        self._tell_all(ipc.Dead(code=ErrorCode.WORKER_DIED, message=reason))
        self._peers.clear()

    def give_up(self) -> None:
        """No other start comes; `lose` has told everybody."""

    def _beat(self, event: ipc.Heartbeat) -> None:
        for name, peer in self._peers.items():
            theirs = [session for session in self._sessions.values() if not session.background]
            others = sum(session.owner != name for session in theirs)
            peer.tell(ipc.changed(event, sessions=len(theirs), others=others))

    def _tell_all(self, event: ipc.Event) -> None:
        for peer in self._peers.values():
            peer.tell(event)

    async def _route(self, event: ipc.SessionEvent) -> None:
        session = self._sessions.get(event.session)
        if session is None:
            return
        over = isinstance(event, ipc.Ended | ipc.Failed)
        if over:
            del self._sessions[event.session]
        if session.next is not None:
            if over:
                await self._begin_next(session.next, session.held)
            return
        peer = self._peers.get(session.owner or "")
        if peer is None:
            return
        if len(peer.waiting) >= self._limits.waiting:
            logger.warning("an API process does not read; its sessions are stopped")
            await self.leave(session.owner or "")
            return
        peer.tell(event)

    # The side of the API processes

    def join(self, peer: str) -> int:
        """A process comes, or comes again. The generation that it speaks to; 0 while there is no worker."""
        if self._link is None:
            return 0
        self._peers[peer] = _Peer(self._clock())
        if self._ready is not None:
            self._peers[peer].tell(self._ready)
        return self.generation

    async def hear(self, peer: str, *, generation: int, timeout: float) -> list[ipc.Event]:
        """What waits for the process, within `timeout` seconds. Of a worker that is gone: its last word."""
        found = self._peers.get(peer)
        if found is None or generation != self.generation:
            return [ipc.Dead(code=ErrorCode.WORKER_DIED, message=self.loss or "it does not know this server")]
        found.heard_at = self._clock()
        if not found.waiting:
            found.news.clear()
            try:
                async with asyncio.timeout(timeout):
                    await found.news.wait()
            except TimeoutError:
                return []
        events = list(found.waiting)
        found.waiting.clear()
        return events

    async def tell(self, peer: str, command: ipc.Command, *, generation: int) -> None:
        """A command of the process. To a worker that is gone it goes nowhere. Raises IpcError."""
        if generation != self.generation or self._link is None:
            return
        if isinstance(command, ipc.Start):
            await self._start(peer, command)
        elif isinstance(command, ipc.Shutdown):
            await self.leave(peer)
        else:
            session = self._sessions.get(command.session)
            if session is not None and session.owner == peer and session.next is None:
                await self._link.send(command)
            elif session is not None and session.next == peer and len(session.held) < self._limits.waiting:
                session.held.append(command)

    async def _begin_next(self, peer: str, held: list[ipc.Command]) -> None:
        """The session has ended for the process before: what the next one said is carried out."""
        for command in held:
            await self.tell(peer, command, generation=self.generation)

    async def _start(self, peer: str, start: ipc.Start) -> None:
        found = self._peers.get(peer)
        if found is None or self._link is None:
            return
        before = self._sessions.get(start.session)
        if before is not None:
            await self._take_over(before, peer, start)
        elif not start.background and self.live_sessions >= self._limits.places:
            found.tell(ipc.Full(session=start.session))
        else:
            self._sessions[start.session] = _Session(peer, start.background)
            await self._link.send(start)

    async def _take_over(self, before: _Session, peer: str, start: ipc.Start) -> None:
        """Another process has the session now: it ends here first, and what is left of it reaches nobody."""
        assert self._link is not None, "a session is of a worker"
        old = self._peers.get(before.owner or "") if before.owner != peer else None
        before.owner, first = None, before.next is None
        before.next, before.held = peer, [start]
        if old is not None:
            message = "another server went on with the session"
            old.tell(ipc.Failed(session=start.session, code=ErrorCode.CONNECTION_REPLACED, message=message))
        if first:
            await self._link.send(ipc.Stop(session=start.session))

    async def leave(self, peer: str) -> None:
        """The process is gone, or ends: its sessions are stopped."""
        for name, session in list(self._sessions.items()):
            if session.owner == peer and self._link is not None:
                await self._link.send(ipc.Stop(session=name))

    async def _forget_the_silent(self) -> None:
        now = self._clock()
        for name, peer in list(self._peers.items()):
            if now - peer.heard_at > self._limits.silence:
                logger.warning("an API process is silent; its sessions are stopped")
                await self.leave(name)
                for session in self._sessions.values():
                    session.owner = None if session.owner == name else session.owner
                del self._peers[name]
