"""API keys and short-lived tokens as values: how they are made, written down and told apart.

It knows nothing of the store or of HTTP. Invariants: a secret has 256 random bits and is shown once; what is kept of it
is its SHA-256; comparing takes the same time however much of it is right.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from service.access.principal import LOCAL, Principal, Scope
from service.store.keys import KeyRow, TokenRow

KEY_PREFIX = "ltk_"
TOKEN_PREFIX = "ltt_"
_SECRET_BYTES = 32
_KEY = re.compile(rf"{KEY_PREFIX}([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})")
_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWish:
    """What a new key is to be good for. A limit that is None is none; `expires_at` is in seconds since 1970."""

    tenant: str
    name: str = ""
    scopes: frozenset[Scope] = frozenset({Scope.SESSIONS, Scope.VIDEOS})
    max_sessions: int | None = None
    max_jobs: int | None = None
    gpu_seconds_per_day: float | None = None
    expires_at: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not _TENANT.fullmatch(self.tenant):
            raise ValueError("a tenant is 1 to 64 of a-z, 0-9, dot, hyphen and underscore, not beginning with a sign")
        if not self.scopes:
            raise ValueError("a key without scopes opens nothing")
        limits = (self.max_sessions, self.max_jobs, self.gpu_seconds_per_day)
        if any(limit is not None and limit < 0 for limit in limits):
            raise ValueError("a limit is 0 or more")
        if len(self.name) > 128:
            raise ValueError("a name has 128 characters at most")


def new_key(wish: KeyWish, *, now: float) -> tuple[str, KeyRow]:
    """A key to be shown once, and what is kept of it."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(_SECRET_BYTES)
    row = KeyRow(
        id=key_id,
        digest=digest_of(secret),
        tenant=wish.tenant,
        name=wish.name,
        scopes=scopes_text(wish.scopes),
        created_at=now,
        max_sessions=wish.max_sessions,
        max_jobs=wish.max_jobs,
        gpu_seconds_per_day=wish.gpu_seconds_per_day,
        expires_at=wish.expires_at,
    )
    return f"{KEY_PREFIX}{key_id}_{secret}", row


def key_parts(text: str) -> tuple[str, str] | None:
    """The id and the secret of what looks like a key."""
    match = _KEY.fullmatch(text)
    return None if match is None else (match[1], match[2])


def is_right(secret: str, row: KeyRow, *, now: float) -> bool:
    """Whether the secret is the key's, and the key is still good."""
    good = row.revoked_at is None and (row.expires_at is None or now < row.expires_at)
    return hmac.compare_digest(digest_of(secret), row.digest) and good


def principal_of_key(row: KeyRow) -> Principal:
    return Principal(row.tenant, row.id, scopes_of(row.scopes))


def new_token(principal: Principal, *, until: float, path: str | None) -> tuple[str, TokenRow]:
    """A token to be shown once, and what is kept of it."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    row = TokenRow(
        digest=digest_of(token),
        key=principal.key_id,
        tenant=principal.tenant,
        scopes=scopes_text(principal.scopes),
        expires_at=until,
        path=path,
    )
    return token, row


def principal_of_token(row: TokenRow) -> Principal:
    return Principal(row.tenant, row.key, LOCAL.scopes if row.key is None else scopes_of(row.scopes))


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def scopes_text(scopes: frozenset[Scope]) -> str:
    return " ".join(sorted(scopes))


def scopes_of(text: str) -> frozenset[Scope]:
    """The scopes of a row; words that this version does not know are good for nothing here."""
    known = frozenset(scope.value for scope in Scope)
    return frozenset(Scope(word) for word in text.split() if word in known)
