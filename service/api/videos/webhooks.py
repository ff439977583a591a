"""Webhooks: what is told of a job that is over, until its receiver has taken it.

It knows rows, the way out and signatures; nothing of how jobs end. Invariants: a webhook is written in the transaction
that ends its job, so a crash loses none; a try is counted before it is made; a receiver may hear twice of the same id,
and is tried `webhook_attempts` times at most; no job waits for a receiver.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from service.api.videos.answers import Video
from service.config import ServiceConfig
from service.errors import ProtocolError, SessionError
from service.jobs.values import Job
from service.outbound.fetching import Outbound
from service.outbound.signing import make_secret, sign
from service.store.webhooks import StoreConnection, WebhookBook, WebhookRow, add_webhook

logger = logging.getLogger(__name__)

BACKOFF = 6.0
SWEEP_SECONDS = 3600.0
_GONE = 410
_AFTER_TROUBLE = 5.0


@dataclass(slots=True, kw_only=True)
class Webhooks:
    """`said`: a job as REST says it. `counted` hears how each try ended. `clock`: seconds since 1970."""

    config: ServiceConfig
    book: WebhookBook
    outbound: Outbound
    said: Callable[[Job], Video]
    counted: Callable[[str], None]
    clock: Callable[[], float] = time.time
    swept_at: float = 0.0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def on_terminal(self, connection: StoreConnection, job: Job) -> None:
        """Writes what is to be told, in the transaction that ends the job."""
        url = job.request.webhook_url
        if url is None:
            return
        now = self.clock()
        webhook, kind = f"msg_{secrets.token_hex(16)}", f"video.{job.status.value}"
        row = WebhookRow(
            id=webhook,
            tenant=job.tenant,
            job=job.id,
            url=url,
            kind=kind,
            body=body_of(webhook, kind, video=self.said(job), at=now),
            created_at=now,
            next_at=now,
        )
        add_webhook(connection, row)

    def wake(self) -> None:
        """Something may be due. From the event loop."""
        self._news.set()

    async def secrets(self, tenant: str) -> tuple[str, ...]:
        """Those that sign for a tenant, the present one first."""
        return await self.book.secrets(tenant, now=self.clock(), make=make_secret)

    async def rotate(self, tenant: str) -> str:
        """A new secret, the one before counts for `webhook_keep_hours` more."""
        return await self.book.rotate(tenant, now=self.clock(), make=make_secret)

    async def run(self) -> None:
        """Sends what is due, until it is cancelled. A store that fails is asked again."""
        while True:
            try:
                await self.round()
                wait = await self._pause()
            except SessionError as error:
                logger.warning("webhooks wait for the store: %s", error)
                wait = _AFTER_TROUBLE
            await self._wait(wait)

    async def round(self) -> int:
        """Tries all that is due now, once each; how many were tried."""
        tried = 0
        while due := await self.book.due(self.clock(), limit=self.config.webhook_parallel):
            async with asyncio.TaskGroup() as sending:
                for row in due:
                    sending.create_task(self._try(row))
            tried += len(due)
        if self.clock() - self.swept_at >= SWEEP_SECONDS:
            self.swept_at = self.clock()
            await self.book.sweep(self.clock() - self.config.webhook_keep_hours * 3600)
        return tried

    async def _pause(self) -> float:
        following = await self.book.next_at()
        now = self.clock()
        sweep = self.swept_at + SWEEP_SECONDS - now
        return max(0.0, min(sweep, sweep if following is None else following - now))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass  # its time has come
        self._news.clear()

    async def _try(self, row: WebhookRow) -> None:
        # Nobody else takes it while it may still be under way; if this process dies, it is due again then.
        if not await self.book.claim(row, until=self.clock() + 2 * self.config.outbound_timeout):
            return
        trouble = await self._send(row)
        now, attempts = self.clock(), row.attempts + 1
        if trouble is None:
            self.counted("delivered")
            await self.book.finish(row.id, at=now, outcome="delivered")
        elif trouble.final or attempts >= self.config.webhook_attempts:
            logger.info("webhook %s is given up after %d tries: %s", row.id, attempts, trouble.words)
            self.counted("given_up")
            await self.book.finish(row.id, at=now, outcome="given_up", trouble=trouble.words)
        else:
            self.counted("again")
            await self.book.again(row.id, at=now + self.delay(attempts), trouble=trouble.words)

    def delay(self, attempts: int) -> float:
        """How long to wait after so many tries."""
        config = self.config
        return float(min(config.webhook_delay * BACKOFF ** min(attempts - 1, 100), config.webhook_delay_max))

    async def _send(self, row: WebhookRow) -> "_Trouble | None":
        body = row.body.encode()
        with_secrets = await self.secrets(row.tenant)
        headers = {"Content-Type": "application/json"}
        headers |= sign(row.id, body, at=int(self.clock()), with_secrets=with_secrets)
        try:
            status = await self.outbound.post(row.url, body, headers=headers, field="webhook_url")
        except ProtocolError as error:
            return _Trouble(f"{error.code}: {error.message}")
        if 200 <= status < 300:
            return None
        return _Trouble(f"status {status}", final=status == _GONE)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why a try came to nothing; `final`: the receiver wants no more of it."""

    words: str
    final: bool = False


def body_of(webhook: str, kind: str, *, video: Video, at: float) -> str:
    """What is sent: an event about a video, as it is when the event happens."""
    event = {
        "id": webhook,
        "object": "event",
        "type": kind,
        "created_at": int(at),
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z"),
        "data": video.model_dump(mode="json"),
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
