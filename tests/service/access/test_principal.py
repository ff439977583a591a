"""Who may what: scopes that have others in them."""

import pytest

from service.access.principal import LOCAL, Principal, Scope


def _with(*scopes: Scope) -> Principal:
    return Principal("studio", "key_1", frozenset(scopes))


@pytest.mark.parametrize(
    ("held", "granted"),
    [
        (Scope.SESSIONS, {Scope.SESSIONS, Scope.SESSIONS_READ}),
        (Scope.SESSIONS_READ, {Scope.SESSIONS_READ}),
        (Scope.VIDEOS, {Scope.VIDEOS, Scope.VIDEOS_READ}),
        (Scope.VIDEOS_READ, {Scope.VIDEOS_READ}),
        (Scope.METRICS, {Scope.METRICS}),
        (Scope.ADMIN, set(Scope)),
    ],
)
def test_a_scope_that_writes_reads(held: Scope, granted: set[Scope]) -> None:
    assert {scope for scope in Scope if _with(held).may(scope)} == granted


def test_without_scopes_nothing_is_allowed() -> None:
    assert not any(_with().may(scope) for scope in Scope)


def test_this_machine_may_everything_of_its_own() -> None:
    assert all(LOCAL.may(scope) for scope in Scope)
    assert LOCAL.sees("local")
    assert not LOCAL.sees("studio")
