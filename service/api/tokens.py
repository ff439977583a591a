"""Resume tokens: who may go on with a session. Kept as hashes, good for one use, each of one session.

It knows nothing of sessions beyond their names; a keeper is told all of it, for other processes and for after a
restart. Invariants: a session has one token at most, the newest; a token that
was replaced or is too old is as good as none, and one that was used from the moment at which its holder is known to
have the next; comparing takes the same time however much of it is right.
"""

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class _Token:
    digest: bytes
    until: float


class Keeper(Protocol):
    """Where tokens outlive the process, by their hashes; `service.store.holds.HoldBook` is one. None of it waits."""

    def put_token(self, session: str, digest: str, *, until: float | None) -> None: ...

    def use_token(self, session: str, digest: str) -> None: ...

    def confirm_token(self, session: str) -> None: ...

    def drop_token(self, session: str) -> None: ...


class Tokens:
    """`limit`: how many tokens of sessions that do not live are kept here."""

    def __init__(
        self, limit: int, *, keeper: Keeper | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._keeper = keeper
        self._clock = clock
        self._tokens: dict[str, _Token] = {}
        self._used: dict[str, bytes] = {}
        """Digests of tokens whose successor may have been lost on its way."""

    def issue(self, session: str, *, until: float) -> str:
        """A new token; the one before is void. `until` may be infinite, for a session that lives."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._tokens.pop(session, None)
        self._tokens[session] = _Token(_digest(token), until)
        self._forget()
        if self._keeper is not None:
            wall = None if until == math.inf else time.time() + until - self._clock()
            self._keeper.put_token(session, digest_of(token), until=wall)
        return token

    def keep_again(self, session: str) -> None:
        """The keeper may not have taken the session's token when it was told."""
        held = self._tokens.get(session)
        if held is not None and self._keeper is not None:
            self._keeper.put_token(session, held.digest.hex(), until=None)

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
        if self._keeper is not None:
            self._keeper.use_token(session, digest_of(token))

    def used_elsewhere(self, session: str, token: str) -> None:
        """It opened the session by the keeper's word."""
        self._tokens[session] = _Token(_digest(token), math.inf)
        self._used[session] = _digest(token)

    def confirm(self, session: str) -> None:
        """Whoever used a token has the next one: something came over the connection that it opened."""
        if self._used.pop(session, None) is not None and self._keeper is not None:
            self._keeper.confirm_token(session)

    def known(self, session: str) -> bool:
        """Whether there is a token for it at all."""
        return session in self._tokens

    def revoke(self, session: str) -> None:
        """No token is good for it any more."""
        self.leave(session)
        if self._keeper is not None:
            self._keeper.drop_token(session)

    def leave(self, session: str) -> None:
        """Its token is no matter of this process any more, but good elsewhere."""
        self._tokens.pop(session, None)
        self._used.pop(session, None)

    def _forget(self) -> None:
        """The oldest of those that end by themselves, where there are too many."""
        while len(self._tokens) > self._limit:
            oldest = next((session for session, token in self._tokens.items() if token.until < math.inf), None)
            if oldest is None:
                return
            del self._tokens[oldest]


def digest_of(token: str) -> str:
    """What is kept of it."""
    return _digest(token).hex()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
