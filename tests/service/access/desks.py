"""A desk over a store of its own, with a clock that tests move.

It knows the store. Invariant: the store is closed with the context.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.access.desk import Desk
from service.access.keys import KeyWish, new_key
from service.config import ServiceConfig
from service.store.aside import beside_server
from service.store.keys import add_key, revoke_key
from service.store.store import SessionStore


@dataclass(slots=True)
class Clock:
    """Seconds since 1970: noon of a day, UTC."""

    now: float = 1_800_000_000.0 - 1_800_000_000.0 % 86400.0 + 43200.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Office:
    store: SessionStore
    desk: Desk
    clock: Clock = field(default_factory=Clock)

    def make(self, wish: KeyWish) -> str:
        return make_key(self.store.folder, wish, now=self.clock.now)


def make_key(folder: Path, wish: KeyWish, *, now: float) -> str:
    """A key, made as `longtake keys create` makes it beside a server."""
    key, row = new_key(wish, now=now)
    with beside_server(folder) as connection:
        add_key(connection, row)
    return key


def end_key(folder: Path, key: str) -> None:
    """As `longtake keys revoke`."""
    with beside_server(folder) as connection:
        assert revoke_key(connection, key.split("_")[1], at=0.0)


@contextmanager
def office(folder: Path, **settings: object) -> Iterator[Office]:
    config = ServiceConfig.model_validate(settings)
    with closing(SessionStore(folder)) as store:
        clock = Clock()
        yield Office(store, Desk(store.keys, config, clock=clock), clock)
