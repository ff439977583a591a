"""Keys and tokens as values: what is kept of a secret, and what is refused."""

from dataclasses import replace

import pytest

from service.access.keys import (
    KeyWish,
    digest_of,
    is_right,
    key_parts,
    new_key,
    new_token,
    principal_of_key,
    principal_of_token,
    scopes_of,
)
from service.access.principal import LOCAL, Scope

WISH = KeyWish(tenant="studio", name="render farm", scopes=frozenset({Scope.VIDEOS}), expires_at=200.0)


def test_a_key_is_shown_once_and_kept_as_its_digest() -> None:
    key, row = new_key(WISH, now=100.0)
    parts = key_parts(key)
    assert parts is not None
    assert parts[0] == row.id
    assert parts[1] not in repr(row)
    assert row.digest == digest_of(parts[1])
    assert new_key(WISH, now=100.0)[0] != key
    assert principal_of_key(row).may(Scope.VIDEOS_READ)


def test_a_key_is_right_until_its_end() -> None:
    key, row = new_key(WISH, now=100.0)
    secret = (key_parts(key) or ("", ""))[1]
    assert is_right(secret, row, now=199.9)
    assert not is_right(secret, row, now=200.0)
    assert not is_right(secret, replace(row, revoked_at=150.0), now=160.0)
    assert not is_right(secret[:-1] + ("A" if secret[-1] != "A" else "B"), row, now=150.0)


@pytest.mark.parametrize("text", ["", "ltk_", "sk-123", "ltk_0123456789ab_short", "ltk_XYZ456789abc_" + "a" * 43])
def test_what_does_not_look_like_a_key_has_no_parts(text: str) -> None:
    assert key_parts(text) is None


@pytest.mark.parametrize("tenant", ["", "A", "a b", "-a", "a" * 65, "ä", "../a"])
def test_a_tenant_is_a_plain_word(tenant: str) -> None:
    with pytest.raises(ValueError, match="a tenant is"):
        KeyWish(tenant=tenant)


def test_a_wish_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="opens nothing"):
        KeyWish(tenant="a", scopes=frozenset())
    with pytest.raises(ValueError, match="0 or more"):
        KeyWish(tenant="a", max_jobs=-1)
    with pytest.raises(ValueError, match="128 characters"):
        KeyWish(tenant="a", name="a" * 129)


def test_a_token_stands_for_its_principal() -> None:
    principal = principal_of_key(new_key(WISH, now=0.0)[1])
    token, row = new_token(principal, until=5.0, path="/v1/x")
    assert (row.digest, row.path, row.expires_at) == (digest_of(token), "/v1/x", 5.0)
    assert principal_of_token(row) == principal
    assert principal_of_token(new_token(LOCAL, until=5.0, path=None)[1]) == LOCAL


def test_a_scope_of_a_newer_version_is_good_for_nothing() -> None:
    assert scopes_of("videos teleport") == {Scope.VIDEOS}
