"""Webhooks signed as the Standard Webhooks specification has it: an id, a time, and HMAC-SHA256 over both and the body.

It knows bytes and secrets; nothing of HTTP or of a store. Invariant: what `sign` makes, `verify` takes, and nothing
that differs from it in one bit, that is too old, or that another secret signed.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping

SECRET_PREFIX = "whsec_"
TOLERANCE = 300.0
"""Seconds that a webhook may be under way."""
_SECRET_BYTES = 32
_VERSION = "v1"


def make_secret() -> str:
    """A new one."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def sign(webhook: str, body: bytes, *, at: int, with_secrets: Iterable[str]) -> dict[str, str]:
    """The headers that go with a body; one signature for each secret, so that one can be changed without a gap."""
    signatures = [f"{_VERSION},{_signature(secret, webhook, at, body)}" for secret in with_secrets]
    return {"webhook-id": webhook, "webhook-timestamp": str(at), "webhook-signature": " ".join(signatures)}


def verify(headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> bool:
    """What a receiver does. `headers`: names in lower case."""
    webhook, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isascii() or not stamp.isdecimal() or abs(now - int(stamp)) > TOLERANCE:
        return False
    expected = f"{_VERSION},{_signature(secret, webhook, int(stamp), body)}".encode()
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any(hmac.compare_digest(signature, expected) for signature in given)


def _signature(secret: str, webhook: str, at: int, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = secret.encode()
    digest = hmac.new(key, f"{webhook}.{at}.".encode() + body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")
