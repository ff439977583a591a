"""Which adapters the weights have for which session: the sessions of a worker share its weights.

The engine would put each session's own set in place block by block; that costs a merge each time, so a worker serves
one set at a time. Invariant: all open sessions have the same set; whoever wants another has the worker to itself or is
refused. Knows sets by value; knows nothing of weights.
"""

from collections.abc import Sequence

from models.journal import AdapterChoice, Journal, adapters_at
from service.errors import ErrorCode
from service.ipc import Adapter, Start
from service.worker.engine import Engine
from service.worker.timeline import Refusal


class Tenancy:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sets: dict[str, tuple[AdapterChoice, ...]] = {}

    def enter(self, start: Start) -> None:
        """A session is to begin. Raises Refusal while others have another set, AdapterError for one not known."""
        if start.course is None:
            wanted = self._engine.adapters_of(choices(start.adapters))
        else:
            journal = Journal.from_json(start.course.journal)
            wanted = adapters_at(journal.events, block=len(start.course.blocks))
        self._claim(start.session, wanted)

    def change(self, session: str, adapters: Sequence[Adapter] | None) -> None:
        """A running session asks for another set. Raises Refusal unless it is alone, AdapterError as `enter`."""
        if adapters is not None:
            self._claim(session, self._engine.adapters_of(choices(adapters)))

    def leave(self, session: str) -> None:
        """Also of a session that never began."""
        self._sets.pop(session, None)

    def _claim(self, session: str, wanted: tuple[AdapterChoice, ...]) -> None:
        others = {name: found for name, found in self._sets.items() if name != session}
        if any(found != wanted for found in others.values()):
            message = f"expected the adapters that {len(others)} running sessions have, their weights are shared"
            raise Refusal(ErrorCode.ADAPTERS_UNAVAILABLE, message, field="adapters")
        self._sets[session] = wanted


def choices(adapters: Sequence[Adapter] | None) -> tuple[AdapterChoice, ...] | None:
    """As the engine knows them."""
    return None if adapters is None else tuple(AdapterChoice(item.name, item.scale) for item in adapters)
