"""One session as the API has it: it outlives its connections and its workers.

It knows the worker client, the store and its audience; nothing of sockets. Invariants: a chunk is in the store before
anybody hears of it; chunks go out in order, each once; there is one last word, all who listen hear it, and nothing
comes after it; a session without its director ends after its grace, and one without a worker after its patience.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable

from service import ipc
from service.api import translate
from service.api.audience import Audience, Listener
from service.api.credits import Credits
from service.api.hearing import Hearing
from service.api.keeping import Keeping
from service.api.ledger import Ledger
from service.api.metrics import SessionMeter
from service.api.news import End, LetGo, Look, News, Phase, WorkerLost, WorkerReady
from service.api.opening import Opening, credits_for, first_start, interactions_of, replay_for
from service.api.orders import Orders
from service.api.reply import Reply
from service.api.services import Services
from service.api.stats import Pulse
from service.api.track import Track
from service.errors import CloseCode, ErrorCode, SessionError, facts_of
from service.protocol.client import SessionResume
from service.protocol.server import SessionDraining, SessionResumed, WorkerRestarting
from service.store.records import EndReason

logger = logging.getLogger(__name__)


class SessionHub:
    """The worker client's listener, and the place where a session's connections meet."""

    def __init__(self, opening: Opening, services: Services, *, on_end: Callable[["SessionHub"], None]) -> None:
        config, message = services.config, opening.message
        self.session, self.principal = opening.session, opening.principal
        self._opening = opening
        self._services = services
        self._on_end = on_end
        self.heard = False  # its director closed in order, so nobody comes back for its last words
        credits = Credits(credits_for(message, services.worker.facts, config=config), first=opening.next_sequence)
        self._start = first_start(opening, config, credits=credits.total)
        self.orders = Orders(opening.session, services.worker, credits=credits, restored=opening.waiting)
        self.interactions = interactions_of(opening, config)
        ledger = Ledger(says=self._stored, fails=self.end, clock=services.clock)
        self.keeping = Keeping(opening, services, ledger=ledger)
        self.audience = Audience(opening, services, replay=replay_for(opening, config, credits=credits.total))
        self.track = Track(opening.course.rows if opening.course else ())
        self._meter = SessionMeter(services.metrics, services.clock())
        self._hearing = Hearing(
            opening=opening,
            services=services,
            audience=self.audience,
            orders=self.orders,
            meter=self._meter,
            interactions=self.interactions,
            track=self.track,
            keeping=self.keeping,
            fingerprint=opening.record.fingerprint if opening.record else "",
            opened=opening.record is not None,
        )
        self.phase = Phase.OPENING
        self._began = False
        self._stopping = False
        self._letting_go = False
        self._left_at: float | None = None
        self._lost_at: float | None = None
        self._ready_late: WorkerReady | None = None  # waits for the store
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    # Life, as the registry and the connections see it

    async def come(self, director: Listener, message: SessionResume | None = None) -> None:
        """A director comes: to begin the session, or back to it. Raises SessionError if it cannot begin."""
        if self._began and message is not None:
            self.audience.resume(director, message)
            self._returned()
            return
        self.audience.direction.lead(director)
        self._task = asyncio.create_task(self._run(), name=f"session-{self.session}")
        self._task.add_done_callback(self._over)
        try:
            await self.orders.begin(self._start, self)
        except SessionError:
            await self._undo()
            raise

    async def _undo(self) -> None:
        await self._services.worker.release(self.session)
        await self.keeping.give_back()
        self.close()

    @property
    def ended(self) -> bool:
        return self.phase is Phase.ENDED

    @property
    def stopping(self) -> bool:
        """It takes no more orders."""
        return self._stopping or self.ended

    def pulse(self) -> Pulse:
        return self._hearing.full_pulse()

    def _returned(self) -> None:
        self._left_at = None
        self._meter.abandoned = False
        self._news.put_nowait(Look())

    def look(self) -> None:
        """Direction may have changed hands."""
        if self.audience.director is not None:
            self._returned()
        else:
            self._abandoned(for_good=False)

    def leave(self, listener: Listener, *, for_good: bool) -> None:
        """A connection is over; `for_good` if its client said that it needs the session no more."""
        directed = self.audience.direction.leave(listener)
        if directed and not self.ended:
            self._abandoned(for_good=for_good)
        self.heard = self.heard or (directed and for_good)

    def _abandoned(self, *, for_good: bool) -> None:
        self._left_at = self._services.clock()
        self._meter.abandoned = True
        stop = not self._opening.message.unattended and (for_good or not self._began)
        self._news.put_nowait(Look(stop=stop))

    def stop(self) -> None:
        """The director asked for the end."""
        self._news.put_nowait(Look(stop=True))

    def let_go(self) -> None:
        """Another process is to go on with it, or this program when it is started again."""
        self._news.put_nowait(LetGo())

    def renew(self) -> None:
        """A connection shows life."""
        self._services.worker.renew(self.session)

    async def took(self, listener: Listener, sequence: int) -> None:
        """A listener's socket took a chunk: who paces the session makes room for another."""
        if listener is self.audience.director:
            await self.orders.credit(sequence)

    async def wait_closed(self) -> None:
        """Until everything about the session is stored."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def on_closed(self, done: Callable[["SessionHub"], None]) -> None:
        """Calls back when everything about the session is stored."""
        if self._task is not None:
            self._task.add_done_callback(lambda _: done(self))

    # The worker client's side: none of these waits or raises

    def deliver(self, event: ipc.SessionEvent) -> None:
        self._news.put_nowait(event)

    def queued(self, position: int, waiting: int) -> None:
        if self.audience.director is not None:
            self.audience.director.queued(position, waiting)

    def admitted(self) -> None:
        self._meter.admitted(self._services.clock())
        if self.audience.director is not None:
            self.audience.director.admitted()

    def draining(self, deadline_seconds: float) -> None:
        for listener in self.audience.direction.everybody():
            listener.draining(deadline_seconds)

    def end(self, code: ErrorCode, message: str) -> None:
        self._news.put_nowait(End(code, message))

    def worker_lost(self, message: str) -> None:
        self.orders.lost()
        self._news.put_nowait(WorkerLost(message))

    def worker_ready(self) -> None:
        self._news.put_nowait(WorkerReady(self.orders.losses))

    # News, one by one

    async def _run(self) -> None:
        try:
            while not self.ended:
                news = await self._next()
                if not self.ended:
                    await (self._look() if news is None else self._heed(news))
        except SessionError as error:
            await self._break(error.code, error.message)
        finally:
            if not self.ended:
                await self._break(ErrorCode.INTERNAL_ERROR, "A fault of the server.")

    def _over(self, task: "asyncio.Task[None]") -> None:
        """A fault of ours has ended one session, and is written down."""
        if not task.cancelled() and task.exception() is not None:
            logger.error("session %s failed", self.session, exc_info=task.exception())

    async def _next(self) -> News | None:
        try:
            async with asyncio.timeout(max(self._deadline() - self._services.clock(), 0.0)):
                return await self._news.get()
        except TimeoutError:
            return None

    def _deadline(self) -> float:
        config, now, times = self._services.config, self._services.clock(), [self.keeping.ledger.next_try or math.inf]
        if self._left_at is not None and not (self._opening.message.unattended or self._stopping):
            times.append(self._left_at + config.resume_grace)
        if self._lost_at is not None:
            times.append(self._lost_at + config.restart_patience)
        if (self._left_at, self._lost_at) != (None, None):
            times.append(now + config.lease_seconds / 3)
        return min(times)

    async def _heed(self, news: News) -> None:
        match news:
            case WorkerLost():
                await self._on_lost(news.message)
            case WorkerReady():
                await self._on_ready(news.losses)
            case End():
                await self._break(news.code, news.message)
            case LetGo():
                await self._let_go()
            case Look():
                if news.stop:
                    await self._stop()
                await self._look()
            case _:
                await self._hear(news)

    def _stored(self, behind: bool) -> None:
        self.audience.say(Reply(translate.store_warning(behind)))
        if not behind:
            self._services.tokens.keep_again(self.session)
            self._news.put_nowait(self._ready_late or Look())

    async def _look(self) -> None:
        """What time and the absence of a director lead to."""
        self.keeping.ledger.look()
        config, now, director = self._services.config, self._services.clock(), self.audience.director
        if self._lost_at is not None and now >= self._lost_at + config.restart_patience:
            await self._break(ErrorCode.WORKER_DIED, "The engine stopped, and no other came in time.")
            return
        if director is not None:
            free_running = director.slow_consumer == "drop"
        else:
            free_running = self._opening.message.unattended
            if not free_running and self._left_at is not None and now >= self._left_at + config.resume_grace:
                await self._stop()
        if free_running:
            await self.orders.credit(self.audience.next_sequence - 1)
        if director is None or self._lost_at is not None:
            self.renew()

    async def _stop(self) -> None:
        if self._stopping or self.ended:
            return
        self._stopping = True
        if not self._began:
            await self._undo()
        elif self.phase is Phase.LOST:
            await self._finish_alone()
        else:
            await self.orders.stop()

    async def _let_go(self) -> None:
        """Where it stands, at the end of a block: what comes after it is made elsewhere, the same."""
        if self._stopping or self.ended:
            return
        self._letting_go = True
        if not self._began:
            self.close(self._hearing.last_word(ErrorCode.SERVER_DRAINING, "The server is shutting down."))
            await self._undo()
        elif self.phase is Phase.RUNNING:
            await self.orders.stop()
        else:
            await self._services.worker.release(self.session)
            await self._leave()

    async def _leave(self) -> None:
        try:
            await self.keeping.leave()
        finally:
            self.close(Reply(SessionDraining(deadline_seconds=0.0), close=CloseCode.RESTART))

    # The worker's life

    async def _on_lost(self, message: str) -> None:
        self._lost_at = self._services.clock()
        told = Reply(WorkerRestarting(message=f"The engine stopped: {message}."))
        if self._began:
            self.audience.say(told)
        elif self.audience.director is not None:
            self.audience.director.tell(told)
        self.phase = Phase.LOST
        if self._stopping:
            await self._finish_alone()

    async def _on_ready(self, losses: int) -> None:
        if losses != self.orders.losses:
            return  # that one is lost, too
        if not await self.keeping.caught_up():
            self._ready_late = WorkerReady(losses)
            return
        start = await self._hearing.start_again(self._start)
        self.phase = Phase.OPENING
        await self.orders.again(start, next_sequence=self.audience.next_sequence, losses=losses)

    # What the worker says

    async def _hear(self, event: ipc.SessionEvent) -> None:
        match event:
            case ipc.Started():
                await self._on_started(event)
            case ipc.Failed() if not self._began and not facts_of(event.code).fatal:
                await self._refuse(event)
            case _:
                last = await self._hearing.hear(event)
                if isinstance(event, ipc.Ended) and self._letting_go and event.reason != "completed":
                    await self._leave()
                elif isinstance(event, ipc.Ended):
                    await self._finish(event.reason, last)
                elif last is not None:
                    await self._finish("failed", last)
                elif isinstance(event, ipc.Chunk):
                    await self._look()

    async def _on_started(self, event: ipc.Started) -> None:
        await self._hearing.begin(event)
        self.phase, self._lost_at = Phase.RUNNING, None
        if self._began:
            resumed = SessionResumed(session_id=self.session, cause="worker", next_sequence=self.audience.next_sequence)
            self.audience.say(Reply(resumed))
            return
        await self.keeping.begin()
        self._began = True
        if self.audience.director is not None:
            self.audience.begin(self.audience.director)

    # The end

    async def _refuse(self, event: ipc.Failed) -> None:
        """The engine did not begin: the client may ask for something else."""
        director = self.audience.director
        self.close()
        await self.keeping.end("stopped")
        if director is not None:
            director.refused(*self._hearing.refusals(event))

    async def _break(self, code: ErrorCode, message: str) -> None:
        """The end for a reason of the service's own."""
        if self.ended:
            return
        reason: EndReason = "drained" if code is ErrorCode.SERVER_DRAINING else "failed"
        self.close(self._hearing.last_word(code, message))
        await self._services.worker.release(self.session)
        with contextlib.suppress(SessionError):  # it may be the store that failed; its record then says "interrupted"
            await self.keeping.end(reason)

    async def _finish(self, reason: EndReason, last: Reply | None) -> None:
        """The end in order. Stored first, so that whoever hears of it finds it so."""
        try:
            await self.keeping.end(reason)
        finally:
            self.close(last)

    async def _finish_alone(self) -> None:
        last = await self._hearing.stopped_alone()
        await self._services.worker.release(self.session)
        await self._finish("stopped", last)

    def close(self, last: Reply | None = None) -> None:
        """It lives no more. Without a last word, nobody listens to it or its client asks for another."""
        if self.ended:
            return
        self.phase = Phase.ENDED
        self._news.put_nowait(Look())
        self._on_end(self)
        if last is None:
            return
        self._meter.ended(last, self._services.clock())
        if self._began:
            self.audience.say(last)
        elif self.audience.director is not None:
            self.audience.director.ends(last)
