"""Which API process holds a session, and who may come back to it: the SQL of holds and resume tokens.

Knows the tables; nothing of threads, sockets or what a token looks like. Invariants: a holder that was replaced cannot
write any more, for each of its writes names its fence; taking a session over, and using up the token for it, is one
transaction; a token that does not fit changes nothing.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from service.store import queries
from service.store.failures import HoldLost, TokenRefused
from service.store.holding_schema import HOLDS, TOKENS
from service.store.jobs_schema import JOBS
from service.store.records import SessionRecord
from service.store.schema import SESSIONS

UNFINISHED_SECONDS = 3600.0
"""A fork that is not whole after this time never will be."""


@dataclass(frozen=True, slots=True)
class Holder:
    """One API process, and how long its word is good for, in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Claim:
    """A session that was taken over: its record as it was found, and the fence of who has it now."""

    record: SessionRecord
    fence: int


def take(connection: Connection, session: str, *, holder: Holder, now: float) -> int:
    """This process holds the session from now on, whoever did before. The fence."""
    before = select(HOLDS.c.fence).where(HOLDS.c.session == session).with_for_update()
    fence: int | None = connection.execute(before).scalar()
    values = {"holder": holder.name, "fence": (fence or 0) + 1, "until": now + holder.seconds}
    if fence is None:
        connection.execute(insert(HOLDS).values(session=session, **values))
    else:
        connection.execute(update(HOLDS).where(HOLDS.c.session == session).values(**values))
    return (fence or 0) + 1


def check(connection: Connection, session: str, *, fence: int) -> None:
    """Raises HoldLost unless the session is held under this fence; nobody takes it over before the commit."""
    found = connection.execute(select(HOLDS.c.fence).where(HOLDS.c.session == session).with_for_update()).scalar()
    if found is not None and found != fence:
        raise HoldLost(session)


def let_go(connection: Connection, session: str, *, until: float) -> None:
    """Nobody holds it now; it is there to be taken over until then."""
    connection.execute(update(HOLDS).where(HOLDS.c.session == session).values(holder="", until=until))


def renew(connection: Connection, holder: Holder, *, now: float) -> None:
    """What this process holds, it holds on."""
    connection.execute(update(HOLDS).where(HOLDS.c.holder == holder.name).values(until=now + holder.seconds))


def held_elsewhere(connection: Connection, session: str, *, holder: Holder, now: float) -> bool:
    """Another process has it, and is there."""
    row = connection.execute(select(HOLDS).where(HOLDS.c.session == session)).first()
    return row is not None and row.holder not in ("", holder.name) and row.until > now


def abandoned(connection: Connection, *, before: float) -> tuple[str, ...]:
    """Live sessions that nobody has held since then, and that no job is making."""
    jobs = select(JOBS.c.id)
    query = (
        select(SESSIONS.c.id)
        .join(HOLDS, HOLDS.c.session == SESSIONS.c.id, isouter=True)
        .where(SESSIONS.c.ended_at.is_(None), ~SESSIONS.c.unfinished, SESSIONS.c.id.not_in(jobs))
        .where(HOLDS.c.until.is_(None) | (HOLDS.c.until < before))
    )
    return tuple(connection.execute(query).scalars())


def drop_unfinished(connection: Connection, *, now: float) -> None:
    old = SESSIONS.c.created_at < now - UNFINISHED_SECONDS
    connection.execute(delete(SESSIONS).where(SESSIONS.c.unfinished, old))


# Tokens


def put_token(connection: Connection, session: str, *, digest: str, until: float | None) -> None:
    """The newest token of the session; one that was used before it is good until `confirm_token`."""
    changed = update(TOKENS).where(TOKENS.c.session == session).values(digest=digest, until=until)
    if connection.execute(changed).rowcount:
        return
    if connection.execute(select(SESSIONS.c.id).where(SESSIONS.c.id == session)).first() is not None:
        connection.execute(insert(TOKENS).values(session=session, digest=digest, until=until))


def use_token(connection: Connection, session: str, *, digest: str) -> None:
    connection.execute(update(TOKENS).where(TOKENS.c.session == session).values(used=digest))


def confirm_token(connection: Connection, session: str) -> None:
    """Whoever used a token has the next one."""
    connection.execute(update(TOKENS).where(TOKENS.c.session == session).values(used=None))


def drop_token(connection: Connection, session: str) -> None:
    connection.execute(delete(TOKENS).where(TOKENS.c.session == session))


def claim(connection: Connection, session: str, *, digest: str, holder: Holder, now: float, grace: float) -> Claim:
    """Take a session over by its token: it is live, held by this process, and the token is used up.

    Args:
        grace: seconds for which the token of a session that broke off, not by a word of its own, is good.

    Raises:
        SessionUnknown, TokenRefused.
    """
    record = queries.record_of(connection, session)
    token = connection.execute(select(TOKENS).where(TOKENS.c.session == session).with_for_update()).first()
    if token is None:
        raise TokenRefused(session, known=False, live=record.live)
    until = token.until
    if until is None and record.ended_at is not None:
        until = record.ended_at + grace
    if digest not in (token.digest, token.used) or (until is not None and until <= now):
        raise TokenRefused(session, known=True, live=record.live)
    use_token(connection, session, digest=digest)
    if not record.live:
        queries.end_session(connection, session, reason=None, at=None)
    return Claim(record, take(connection, session, holder=holder, now=now))
