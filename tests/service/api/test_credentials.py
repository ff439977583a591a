"""Credentials of a request: where a key and a token are read, and where they are not."""

import pytest

from service.access.desk import Credentials
from service.api.credentials import credentials_of


def scope(kind: str = "http", *, method: str = "GET", query: str = "", **headers: str) -> dict[str, object]:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    found: dict[str, object] = {"type": kind, "path": "/v1/x", "query_string": query.encode(), "headers": pairs}
    return found | ({"method": method} if kind == "http" else {"subprotocols": ["longtake.v1", "longtake.token.t"]})


@pytest.mark.parametrize(
    ("value", "key"),
    [("Bearer k", "k"), ("bearer  k ", "k"), ("Basic k", ""), ("k", ""), ("", ""), ("Bearer", "")],
)
def test_a_key_is_what_follows_bearer(value: str, key: str) -> None:
    assert credentials_of(scope(authorization=value, query="token=t")) == Credentials(key=key)


def test_a_token_of_a_file_is_read_from_requests_that_read() -> None:
    assert credentials_of(scope(query="a=b&token=t")) == Credentials(path_token="t", path="/v1/x")
    assert credentials_of(scope(method="POST", query="token=t")) == Credentials()
    assert credentials_of(scope(query="token=")) == Credentials(path="/v1/x")


def test_any_number_of_fields_is_read() -> None:
    """Found by requests at random: a query of many fields was a fault of the server."""
    assert credentials_of(scope(query="a=b&" * 1000 + "token=t")).path_token == "t"
    assert credentials_of(scope(query="\xff&;&=&token")).path_token is None


def test_a_websocket_has_its_token_among_the_subprotocols_or_in_the_address() -> None:
    assert credentials_of(scope("websocket", query="token=u")) == Credentials(socket_token="t")
    bare = scope("websocket", query="token=u") | {"subprotocols": []}
    assert credentials_of(bare) == Credentials(socket_token="u")
