"""The sessions that live in this process: how one begins, how a connection comes back to it or joins it.

It knows hubs, the store and tokens; nothing of sockets. Invariants: a session has one hub at most; a token opens one
session once, and is used up only if it does; a session that has ended lives again only by a token. One that ended while
its director's connection was lost keeps its last words for the grace, so many of them at most as may live.
"""

import asyncio
import contextlib
import logging
import uuid
from dataclasses import replace

from service.access.principal import Principal
from service.api.audience import Listener
from service.api.hub import SessionHub
from service.api.opening import Opening
from service.api.prompting import latest_prompt, start_through_hooks
from service.api.saying import say_prompts
from service.api.services import Services
from service.api.taking_over import session_ended, take_over, token_invalid
from service.errors import ErrorCode, SessionError
from service.protocol.client import SessionJoin, SessionResume, SessionStart
from service.store.failures import SessionLive, SessionUnknown
from service.telemetry.ids import TRACEPARENT, bind, bound
from service.telemetry.tracing import Span

logger = logging.getLogger(__name__)


class Hubs:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._hubs: dict[str, SessionHub] = {}
        self._closing: set[SessionHub] = set()
        self._spans: dict[str, Span] = {}
        self._unheard: dict[str, SessionHub] = {}
        """Sessions that have ended, whose director may not have heard all of it."""
        self._too_late: dict[str, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._hubs)

    @property
    def replay_bytes(self) -> int:
        """Media that is kept to be sent again, of all sessions."""
        return sum(hub.audience.replay.bytes for hub in self._hubs.values())

    @property
    def viewers(self) -> int:
        return sum(hub.audience.direction.viewers for hub in self._hubs.values())

    async def start(self, message: SessionStart, principal: Principal) -> SessionHub:
        """A new session, for its director to come to.

        Raises:
            SessionError: its picture is not there, or its key may not have one more. ProtocolError: a hook refuses.
        """
        await self._services.quotas.check_session(principal, live=self._live_of(principal))
        picture = self._services.pictures.get(message.picture_id, principal.tenant) if message.picture_id else None
        said, notes = await start_through_hooks(message, principal, hooks=self._services.hooks)
        name = uuid.uuid4().hex
        say_prompts(said, config=self._services.config, session=name)
        return self._add(Opening(session=name, message=said, principal=principal, picture=picture, notes=notes))

    async def resume(self, message: SessionResume, principal: Principal) -> SessionHub:
        """The session that a token is for, for its director to come to: it waits for it, or is of the store.

        Raises:
            SessionError, ProtocolError: it cannot go on.
        """
        session, tokens = message.session_id, self._services.tokens
        await self._settle_opening(session)
        hub = self._hubs.get(session) or self._unheard.get(session)
        if not principal.sees(hub.principal.tenant if hub else (await self._services.store.get(session)).tenant):
            raise SessionUnknown(session)
        if hub is None:
            await self._services.quotas.check_session(principal, live=self._live_of(principal))
            opening = await take_over(message, services=self._services, principal=principal)
            tokens.used_elsewhere(session, message.resume_token)
            return self._add(opening)
        if not tokens.matches(session, message.resume_token, now=self._services.clock()):
            raise token_invalid()
        if hub.audience.started is None or hub.heard:
            raise session_ended(session)
        hub.audience.check_resume(message)
        tokens.use(session, message.resume_token)
        return hub

    async def _settle_opening(self, session: str) -> None:
        """Where the session is just being taken up for a connection that was lost, or is just ending, it does so."""
        hub = self._hubs.get(session)
        if hub is not None and hub.keeping.goes_on and hub.audience.started is None:
            hub.stop()
        leaving = [hub for hub in self._closing if hub.session == session]
        if hub is not None and hub.keeping.goes_on and hub.audience.started is None:
            leaving.append(hub)
        for other in leaving:
            await other.wait_closed()

    def heard(self, session: str) -> None:
        """Its director said something over the connection that it has now."""
        self._services.tokens.confirm(session)

    def left(self, hub: SessionHub) -> None:
        """A connection of it is over."""
        if hub.heard and self._unheard.get(hub.session) is hub:
            self._forget(hub.session)

    @property
    def unheard(self) -> int:
        """Sessions that have ended and wait for somebody to hear of it."""
        return len(self._unheard)

    async def join(self, message: SessionJoin, viewer: Listener, *, principal: Principal) -> SessionHub:
        """Somebody watches a session. Raises ProtocolError or SessionError."""
        hub = self._hubs.get(message.session_id)
        if hub is None and await self._is_elsewhere(message.session_id, principal):
            raise SessionError(ErrorCode.SESSION_ELSEWHERE, "The session is at another server; connect again.")
        if hub is None or hub.stopping or not principal.sees(hub.principal.tenant):
            raise SessionUnknown(message.session_id)
        hub.audience.join(viewer, message)
        return hub

    async def _is_elsewhere(self, session: str, principal: Principal) -> bool:
        """Another process has it, or it waits for one."""
        try:
            record = await self._services.store.get(session)
        except SessionUnknown:
            return False
        return record.live and principal.sees(record.tenant)

    def _live_of(self, principal: Principal) -> int:
        return sum(hub.principal.key_id == principal.key_id for hub in self._hubs.values())

    # The registry that REST asks

    def is_live(self, session: str) -> bool:
        return session in self._hubs

    async def issue_token(self, session: str) -> str:
        """A token with which a session goes on that nobody directs. Raises SessionError."""
        hub = self._hubs.get(session)
        if hub is not None:
            if hub.audience.director is not None or hub.audience.started is None:
                raise SessionLive(session)
            return hub.audience.issue_token()
        self._forget(session)
        if await self._services.store.holds.held_elsewhere(session):
            raise SessionLive(session)
        await self._services.store.get(session)
        until = self._services.clock() + self._services.config.resume_token_seconds
        return self._services.tokens.issue(session, until=until)

    async def let_go(self, timeout: float) -> None:
        """Every session is left where it stands, for others to go on with. Returns when the store knows."""
        leaving = list(self._hubs.values())
        for hub in leaving:
            hub.let_go()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*(hub.wait_closed() for hub in leaving))

    async def settle(self, timeout: float) -> None:
        """Waits until what has ended is stored."""
        waiting = [hub.wait_closed() for hub in (*self._hubs.values(), *self._closing)]
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*waiting)
        except TimeoutError:
            logger.warning("%d sessions did not end in time", len(self._hubs))

    def _add(self, opening: Opening) -> SessionHub:
        name, model = opening.session, opening.message.model
        attributes = {"longtake.session": name, "gen_ai.request.model": model}
        parent = bound().get(TRACEPARENT, "")
        span = self._spans[name] = self._services.tracing.begin("session", parent=parent, attributes=attributes)
        opening = replace(opening, traceparent=span.traceparent)
        bind(session=name, traceparent=span.traceparent)
        hub = self._hubs[name] = SessionHub(opening, self._services, on_end=self._ended)
        hub.interactions.latest = latest_prompt(opening)
        return hub

    def _ended(self, hub: SessionHub) -> None:
        """It lives no more; its connections still hear its last words from it."""
        if (span := self._spans.pop(hub.session, None)) is not None:
            span.end()
        if self._hubs.pop(hub.session, None) is not None:
            self._closing.add(hub)
            hub.on_closed(self._closing.discard)
        config = self._services.config
        if hub.keeping.left:
            self._services.tokens.leave(hub.session)
            return
        if hub.audience.started is None or config.resume_grace == 0:
            self._services.tokens.revoke(hub.session)
            return
        self._unheard[hub.session] = hub
        loop = asyncio.get_running_loop()
        self._too_late[hub.session] = loop.call_later(config.resume_grace, self._forget, hub.session)
        while len(self._unheard) > config.max_sessions:
            self._forget(next(iter(self._unheard)))

    def _forget(self, session: str) -> None:
        """The last words of a session that has ended are needed no more, or it is too late for them."""
        if self._unheard.pop(session, None) is not None:
            self._too_late.pop(session).cancel()
            self._services.tokens.revoke(session)
