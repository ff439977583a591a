"""Webhooks in the store: what is to be sent, what became of it, and with which secrets it is signed.

Knows SQL, and the writer and the readers of the store; nothing of HTTP or of what is sent. Invariants: a try belongs to
whoever counted it first; what is finished is never due again; a tenant has one secret that is not retired.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from service.store.webhooks_schema import WEBHOOK_SECRETS, WEBHOOKS

T = TypeVar("T")
StoreConnection = Connection
"""What a transaction of the store is done with, for those who are part of one."""
Outcome = Literal["delivered", "given_up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRow:
    """One webhook. Times are seconds since 1970; `trouble` is what went wrong last."""

    id: str
    tenant: str
    job: str
    url: str
    kind: str
    body: str
    created_at: float
    attempts: int = 0
    next_at: float | None = None
    finished_at: float | None = None
    outcome: str | None = None
    trouble: str | None = None


_COLUMNS = tuple(WebhookRow.__dataclass_fields__)


class _Does(Protocol):
    def __call__(self, work: Callable[[Connection], T], /) -> Awaitable[T]: ...


def add_webhook(connection: Connection, row: WebhookRow) -> None:
    """In the transaction of what it tells of."""
    connection.execute(insert(WEBHOOKS).values({name: getattr(row, name) for name in _COLUMNS}))


class WebhookBook:
    """`write` commits what it is given before it returns, `read` sees whole commits."""

    def __init__(self, write: _Does, read: _Does) -> None:
        self._write = write
        self._read = read

    async def due(self, now: float, *, limit: int) -> tuple[WebhookRow, ...]:
        """Those whose time has come, the longest due first."""
        query = select(WEBHOOKS).where(WEBHOOKS.c.next_at <= now).order_by(WEBHOOKS.c.next_at).limit(limit)
        return await self._rows(query)

    async def next_at(self) -> float | None:
        """When the next one is due."""

        def work(connection: Connection) -> float | None:
            found: float | None = connection.execute(select(func.min(WEBHOOKS.c.next_at))).scalar_one()
            return found

        return await self._read(work)

    async def claim(self, row: WebhookRow, *, until: float) -> bool:
        """Count a try, before it is made. False where somebody else has counted it: another process has this store."""

        def work(connection: Connection) -> bool:
            mine = (WEBHOOKS.c.id == row.id) & (WEBHOOKS.c.attempts == row.attempts) & WEBHOOKS.c.next_at.is_not(None)
            change = update(WEBHOOKS).where(mine).values(attempts=row.attempts + 1, next_at=until)
            return connection.execute(change).rowcount == 1

        return await self._write(work)

    async def again(self, webhook: str, *, at: float, trouble: str) -> None:
        """It is tried again."""
        change = update(WEBHOOKS).where(_open(webhook)).values(next_at=at, trouble=trouble)
        await self._do(change)

    async def finish(self, webhook: str, *, at: float, outcome: Outcome, trouble: str | None = None) -> None:
        """It is tried no more."""
        values = {"next_at": None, "finished_at": at, "outcome": outcome, "trouble": trouble}
        await self._do(update(WEBHOOKS).where(_open(webhook)).values(values))

    async def of_tenant(self, tenant: str, *, after: str | None, limit: int) -> tuple[WebhookRow, ...]:
        """The newest first. `after`: the id of the last one known; one that is gone gives nothing."""
        query = select(WEBHOOKS).where(WEBHOOKS.c.tenant == tenant)
        if after is not None:
            last = select(WEBHOOKS.c.created_at).where((WEBHOOKS.c.id == after) & (WEBHOOKS.c.tenant == tenant))
            since = last.scalar_subquery()
            older = WEBHOOKS.c.created_at < since
            query = query.where(older | ((WEBHOOKS.c.created_at == since) & (WEBHOOKS.c.id < after)))
        return await self._rows(query.order_by(WEBHOOKS.c.created_at.desc(), WEBHOOKS.c.id.desc()).limit(limit))

    async def sweep(self, before: float) -> None:
        """Forget what was finished, and secrets that were retired, before a time."""

        def work(connection: Connection) -> None:
            connection.execute(delete(WEBHOOKS).where(WEBHOOKS.c.finished_at < before))
            connection.execute(delete(WEBHOOK_SECRETS).where(WEBHOOK_SECRETS.c.retired_at < before))

        await self._write(work)

    # Secrets

    async def secrets(self, tenant: str, *, now: float, make: Callable[[], str]) -> tuple[str, ...]:
        """Those that sign, the present one first; it is made where there is none."""

        def work(connection: Connection) -> tuple[str, ...]:
            table = WEBHOOK_SECRETS.c
            query = select(table.secret, table.retired_at).where(table.tenant == tenant)
            found = connection.execute(query.order_by(table.retired_at.is_not(None), table.created_at.desc())).all()
            if found and found[0].retired_at is None:
                return tuple(str(row.secret) for row in found)
            return (_add_secret(connection, tenant, now=now, secret=make()), *(str(row.secret) for row in found))

        return await self._write(work)

    async def rotate(self, tenant: str, *, now: float, make: Callable[[], str]) -> str:
        """A new secret; the one before signs on until it is swept."""

        def work(connection: Connection) -> str:
            table = WEBHOOK_SECRETS.c
            present = (table.tenant == tenant) & table.retired_at.is_(None)
            connection.execute(update(WEBHOOK_SECRETS).where(present).values(retired_at=now))
            return _add_secret(connection, tenant, now=now, secret=make())

        return await self._write(work)

    async def _do(self, change: Any) -> None:
        def work(connection: Connection) -> None:
            connection.execute(change)

        await self._write(work)

    async def _rows(self, query: Select[Any]) -> tuple[WebhookRow, ...]:
        return await self._read(lambda connection: tuple(map(_row, connection.execute(query).all())))


def _open(webhook: str) -> Any:
    return (WEBHOOKS.c.id == webhook) & WEBHOOKS.c.next_at.is_not(None)


def _add_secret(connection: Connection, tenant: str, *, now: float, secret: str) -> str:
    values = {"id": f"whs_{secrets.token_hex(12)}", "tenant": tenant, "secret": secret, "created_at": now}
    connection.execute(insert(WEBHOOK_SECRETS).values(values))
    return secret


def _row(row: Row[Any]) -> WebhookRow:
    return WebhookRow(**{name: getattr(row, name) for name in _COLUMNS})
