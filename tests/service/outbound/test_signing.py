"""Signatures of webhooks: by the specification's own example, by another maker's verifier, and bit by bit."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import InvalidWebhookSignatureError, OpenAI

from service.outbound.signing import TOLERANCE, make_secret, sign, verify

BODY = b'{"test": 2432232314}'
NOW = 1_614_265_330


def test_what_is_signed_is_as_the_specification_has_it() -> None:
    secret = make_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret[6:])) == 32
    headers = sign("msg_1", BODY, at=NOW, with_secrets=[secret])
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, b"msg_1.1614265330." + BODY, hashlib.sha256)).decode()
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1614265330",
        "webhook-signature": f"v1,{expected}",
    }


def test_a_published_example() -> None:
    """Secret, id, time, body and signature from the libraries' own tests."""
    headers = sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        BODY,
        at=NOW,
        with_secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_official_client_takes_it() -> None:
    secret = make_secret()
    client = OpenAI(api_key="none", webhook_secret=secret)
    headers = sign("msg_1", BODY, at=NOW, with_secrets=["whsec_AAAA", secret])
    client.webhooks.verify_signature(BODY, headers, tolerance=10**10)
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.verify_signature(BODY + b" ", headers, tolerance=10**10)


def test_each_secret_signs() -> None:
    first, second = make_secret(), make_secret()
    headers = sign("m", BODY, at=NOW, with_secrets=[first, second])
    assert [verify(headers, BODY, secret=secret, now=NOW) for secret in (first, second, make_secret())] == [
        True,
        True,
        False,
    ]


def test_it_is_good_for_a_while() -> None:
    secret = make_secret()
    headers = sign("m", BODY, at=NOW, with_secrets=[secret])
    times = (NOW - TOLERANCE, NOW + TOLERANCE, NOW - TOLERANCE - 1, NOW + TOLERANCE + 1)
    assert [verify(headers, BODY, secret=secret, now=now) for now in times] == [True, True, False, False]
    for stamp in ("", "x", "-1", "1e9", "١٢٣"):
        assert not verify(headers | {"webhook-timestamp": stamp}, BODY, secret=secret, now=NOW)


@given(st.integers(0, 8 * len(BODY) - 1), st.sampled_from(["body", "webhook-id", "webhook-timestamp"]))
def test_one_bit_is_enough(bit: int, part: str) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers, body = sign("m", BODY, at=NOW, with_secrets=[secret]), bytearray(BODY)
    if part == "body":
        body[bit // 8] ^= 1 << bit % 8
    elif part == "webhook-id":
        headers[part] = "m" + chr(33 + bit % 90)
    else:
        headers[part] = str(NOW + 1 + bit % 200)
    assert not verify(headers, bytes(body), secret=secret, now=NOW)
