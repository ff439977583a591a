"""Prompts that a session has accepted: there before they are acknowledged, and until they have taken effect or ended.

Knows the tables; nothing of threads, sockets or what a prompt says. Invariants: a prompt that took effect is marked so
with the chunk it begins with, in one transaction; those that wait are kept however many there are, of the others the
newest; what was made already is not changed by one that waits, whoever goes on with the session.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from service.store import queries
from service.store.prompts_schema import PROMPTS
from service.store.records import course_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedPrompt:
    """One that a client was told is accepted, or is about to be told so."""

    event_id: str
    digest: str
    """Of what the client said: the same `event_id` with another one is another prompt."""
    document: str
    """The message, as a JSON object, with the words that the engine gets."""
    not_before: float = 0.0
    """Seconds of the video that were made before it: it changes none of them."""
    outcome: str | None = None
    """The message, as a JSON object, that told its end; None while it waits."""
    sequence: int | None = None
    """The chunk that it begins with, or that was due when it ended otherwise."""


@dataclass(frozen=True, slots=True)
class PromptEnd:
    """What became of one."""

    event_id: str
    outcome: str


def accept(connection: Connection, session: str, *, prompt: AcceptedPrompt, keep: int) -> None:
    """`keep`: how many that have ended are remembered."""
    mine = PROMPTS.c.session == session
    newest: int = connection.execute(select(func.max(PROMPTS.c.ordinal)).where(mine)).scalar() or 0
    old = PROMPTS.c.outcome.is_not(None) & (PROMPTS.c.ordinal <= newest - keep)
    connection.execute(delete(PROMPTS).where(mine, or_(old, PROMPTS.c.event_id == prompt.event_id)))
    values = {name: getattr(prompt, name) for name in AcceptedPrompt.__dataclass_fields__}
    connection.execute(insert(PROMPTS).values(session=session, ordinal=newest + 1, **values))


def end(connection: Connection, session: str, *, ends: Iterable[PromptEnd], sequence: int) -> None:
    for ended in ends:
        one = (PROMPTS.c.session == session, PROMPTS.c.event_id == ended.event_id)
        connection.execute(update(PROMPTS).where(*one).values(outcome=ended.outcome, sequence=sequence))


def forget(connection: Connection, session: str) -> None:
    """The session has ended by a word of its own, and its prompts with it."""
    connection.execute(delete(PROMPTS).where(PROMPTS.c.session == session))


def of(connection: Connection, session: str) -> tuple[AcceptedPrompt, ...]:
    """In the order in which they were accepted."""
    columns = [PROMPTS.c[name] for name in AcceptedPrompt.__dataclass_fields__]
    query = select(*columns).where(PROMPTS.c.session == session).order_by(PROMPTS.c.ordinal)
    return tuple(AcceptedPrompt(**row._mapping) for row in connection.execute(query))


def hold_back(connection: Connection, session: str) -> None:
    """What is stored of the video will be made again as it was: those that wait come after it."""
    record = queries.record_of(connection, session)
    course = course_of(queries.chunks_of(connection, session))
    rows = course[: queries.cut_of(connection, session)]
    made = sum(row.frames for row in rows) / record.fps
    earlier = (PROMPTS.c.session == session, PROMPTS.c.outcome.is_(None), PROMPTS.c.not_before < made)
    connection.execute(update(PROMPTS).where(*earlier).values(not_before=made))


def let_through(connection: Connection, session: str) -> None:
    """The video goes back, and what follows will be another one: those that wait wait for nothing that was made."""
    connection.execute(update(PROMPTS).where(PROMPTS.c.session == session).values(not_before=0.0))
