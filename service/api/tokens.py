"""Resume tokens: who may go on with a session. Kept as hashes, good for one use, each of one session.

It knows nothing of sessions beyond their names. Invariants: a session has one token at most, the newest; a token that
was replaced or is too old is as good as none, and one that was used from the moment at which its holder is known to
have the next; comparing takes the same time however much of it is right.
"""

import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass

TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class _Token:
    digest: bytes
    until: float


class Tokens:
    """`limit`: how many tokens of sessions that do not live are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tokens: dict[str, _Token] = {}
        self._used: dict[str, bytes] = {}
        """Digests of tokens whose successor may have been lost on its way."""

    def issue(self, session: str, *, until: float) -> str:
        """A new token; the one before is void. `until` may be infinite, for a session that lives."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._tokens.pop(session, None)
        self._tokens[session] = _Token(_digest(token), until)
        self._forget()
        return token

    def matches(self, session: str, token: str, *, now: float) -> bool:
        """Whether it is this session's token. It is not used up by being looked at."""
        held = self._tokens.get(session)
        given = _digest(token)
        if hmac.compare_digest(self._used.get(session, b""), given):
            return True
        return hmac.compare_digest(held.digest if held else b"", given) and held is not None and now < held.until

    def use(self, session: str, token: str) -> None:
        """It opened the session. It does so again until `confirm`: the answer with the next one may not arrive."""
        self._used[session] = _digest(token)

    def confirm(self, session: str) -> None:
        """Whoever used a token has the next one: something came over the connection that it opened."""
        self._used.pop(session, None)

    def known(self, session: str) -> bool:
        """Whether there is a token for it at all."""
        return session in self._tokens

    def revoke(self, session: str) -> None:
        self._tokens.pop(session, None)
        self._used.pop(session, None)

    def _forget(self) -> None:
        """The oldest of those that end by themselves, where there are too many."""
        while len(self._tokens) > self._limit:
            oldest = next((session for session, token in self._tokens.items() if token.until < math.inf), None)
            if oldest is None:
                return
            del self._tokens[oldest]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
