"""Who asks: the tenant whose objects it may see, and what it may do with them.

It knows nothing of keys, headers or any web framework. Invariants: every request and every connection has exactly one
principal before it is answered; an object of another tenant is answered as one that does not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

LOCAL_TENANT = "local"


class Scope(StrEnum):
    """What a key may be good for. One that writes has the one that reads in it; `admin` has all of them."""

    SESSIONS = "sessions"
    SESSIONS_READ = "sessions:read"
    VIDEOS = "videos"
    VIDEOS_READ = "videos:read"
    METRICS = "metrics"
    ADMIN = "admin"


_INCLUDED: Mapping[Scope, frozenset[Scope]] = MappingProxyType(
    {
        Scope.SESSIONS: frozenset({Scope.SESSIONS_READ}),
        Scope.VIDEOS: frozenset({Scope.VIDEOS_READ}),
        Scope.ADMIN: frozenset(Scope),
    }
)


@dataclass(frozen=True, slots=True)
class Principal:
    """`key_id` is None where no key was needed; limits and accounts are by key, objects by tenant."""

    tenant: str
    key_id: str | None
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether it has the scope, or one that has it in it."""
        return any(scope is held or scope in _INCLUDED.get(held, frozenset()) for held in self.scopes)

    def sees(self, tenant: str) -> bool:
        """Whether an object of this tenant is there for it."""
        return tenant == self.tenant


LOCAL = Principal(LOCAL_TENANT, None, frozenset(Scope))
"""Whoever comes from this machine while no key is asked for."""
