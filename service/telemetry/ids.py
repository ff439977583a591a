"""The ids that belong to what is being done now: of the request, the session, the key, the trace.

It knows context variables, which tasks inherit; nothing of logs or of who reads the ids. Invariant: what one task binds
is seen by itself and by the tasks that it begins, and by no other.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})
_BOUND: ContextVar[Mapping[str, str]] = ContextVar("longtake_ids", default=_NONE)

TRACEPARENT = "traceparent"
"""The name under which the W3C context of the trace is bound."""


def bound() -> Mapping[str, str]:
    """What is bound here."""
    return _BOUND.get()


def bind(**ids: str | None) -> Token[Mapping[str, str]]:
    """Binds ids besides those that are; those that are None or empty are left out. `unbind` undoes it."""
    return _BOUND.set({**_BOUND.get(), **{name: value for name, value in ids.items() if value}})


def unbind(token: Token[Mapping[str, str]]) -> None:
    _BOUND.reset(token)


def trace_id_of(traceparent: str) -> str:
    """The trace of a W3C context, "" where it is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""
