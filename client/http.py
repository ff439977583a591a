"""What a server is asked over HTTP: with its key, its origin and a time-out, and errors of our own tree.

Knows the standard library's HTTP client; nothing of what is asked. Invariants: no call waits longer than it says; what
a server refuses is an error with the server's code; a body is read up to a bound, or in parts by whoever opened it.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, Request, build_opener

from client.connection import ENDPOINT, bearer, is_on_this_machine, own_origin, realtime_url
from client.errors import ConnectFailed, RequestRefused

_MOST_BYTES = 16 * 1024 * 1024
JSON = "application/json"


def base_url(url: str) -> str:
    """Where the server that is meant by `url` is, over HTTP and without a path of its own but for a prefix."""
    parts = urlsplit(realtime_url(url))
    scheme = "https" if parts.scheme == "wss" else "http"
    return urlunsplit((scheme, parts.netloc, parts.path.removesuffix(ENDPOINT), "", ""))


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; `path` begins behind the server's prefix."""

    path: str
    method: str = "GET"
    body: bytes | None = None
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    """A server by any address of it that the client takes.

    Args:
        timeout: for an answer to begin, and for each further part of it.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 30.0

    async def ask(self, asked: Ask) -> bytes:
        """The whole answer. Raises RequestRefused, ConnectFailed."""
        answer = await self.open(asked)
        try:
            return await asyncio.to_thread(_whole, answer)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    async def ask_again(self, asked: Ask, *, attempts: int, pause: float) -> bytes:
        """`ask`, so many times where the server cannot be reached or has no place; for calls that may be repeated."""
        for number in range(attempts - 1):
            try:
                return await self.ask(asked)
            except ConnectFailed:
                await asyncio.sleep(pause * 2**number)
            except RequestRefused as refused:
                if not refused.retryable:
                    raise
                await asyncio.sleep(refused.retry_after or pause * 2**number)
        return await self.ask(asked)

    async def open(self, asked: Ask) -> HTTPResponse:
        """The answer's head; who asked reads the rest, in a thread, and closes it. Raises what `ask` does."""
        address = base_url(self.url) + asked.path
        try:
            async with asyncio.timeout(self.timeout):
                direct = await is_on_this_machine(address)
            return await asyncio.to_thread(self._open, address, asked, direct=direct)
        except HTTPError as error:
            raise _refusal(error) from error
        except (OSError, HTTPException, ValueError) as error:
            raise self._unreachable(error) from error

    def _open(self, address: str, asked: Ask, *, direct: bool) -> HTTPResponse:
        """A server elsewhere takes its own origin only, as from its own page (see client.connection)."""
        headers = dict(asked.headers) | bearer(self.api_key)
        if asked.body is not None:
            headers["Content-Type"] = asked.media_type
        if not direct:
            headers["Origin"] = own_origin(realtime_url(self.url))
        opener = build_opener(ProxyHandler({})) if direct else build_opener()
        request = Request(address, data=asked.body, headers=headers, method=asked.method)
        return cast(HTTPResponse, opener.open(request, timeout=self.timeout))

    def _unreachable(self, error: Exception) -> ConnectFailed:
        return ConnectFailed(f"expected a Longtake server at {base_url(self.url)}: {error}")


def _whole(answer: HTTPResponse) -> bytes:
    with closing(answer):
        return answer.read(_MOST_BYTES)


def _refusal(error: HTTPError) -> ConnectFailed | RequestRefused:
    """What a problem document says, where it is one."""
    try:
        with closing(error):
            problem = json.loads(error.read(_MOST_BYTES))
        parameter = problem.get("error", {}).get("param")
        refused = RequestRefused(
            str(problem["code"]), str(problem["detail"]), field=parameter if isinstance(parameter, str) else None
        )
        refused.retryable = problem.get("retryable") is True
        refused.retry_after = _seconds(error.headers.get("Retry-After"))
        return refused
    except (ValueError, LookupError, TypeError, AttributeError, OSError):
        return ConnectFailed(f"expected an answer that says more, the server answered {error.code}")


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdecimal() else None
