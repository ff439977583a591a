"""What a server says of its model over HTTP: the prompts that it suggests.

Knows one address and one answer; nothing of sessions. Invariant: what comes back is checked, so a server that answers
otherwise than expected is a ClientError that says so.
"""

import asyncio
import json
from http.client import HTTPException
from urllib.parse import urlsplit, urlunsplit
from urllib.request import ProxyHandler, build_opener

from client.connection import ENDPOINT, is_on_this_machine, realtime_url
from client.errors import ConnectFailed, ProtocolViolation

MODELS = "/v1/models"
_MOST_BYTES = 1024 * 1024


def models_url(url: str) -> str:
    """Where the server that is meant by `url` lists its models."""
    parts = urlsplit(realtime_url(url))
    scheme = "https" if parts.scheme == "wss" else "http"
    return urlunsplit((scheme, parts.netloc, parts.path.removesuffix(ENDPOINT) + MODELS, "", ""))


async def suggested_prompts(url: str, *, timeout: float = 10.0) -> tuple[str, ...]:
    """The prompts that the model's makers suggest, at least one.

    Raises:
        ConnectFailed: there is no such server, or its model is not ready. ProtocolViolation: it suggests none.
    """
    address = models_url(url)
    try:
        async with asyncio.timeout(timeout):
            direct = await is_on_this_machine(address)
        text = await asyncio.to_thread(_read, address, direct=direct, timeout=timeout)
    except (OSError, HTTPException, ValueError) as error:
        raise ConnectFailed(f"expected the models of a Longtake server at {address}: {error}") from error
    return parse_prompts(text)


def parse_prompts(text: bytes) -> tuple[str, ...]:
    """Raises ProtocolViolation."""
    try:
        prompts = json.loads(text)["data"][0]["suggested_prompts"]
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolViolation(f"expected a list of models with suggested prompts, got {text[:80]!r}") from error
    if not isinstance(prompts, list) or not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise ProtocolViolation(f"expected a model with suggested prompts, got {prompts!r}")
    return tuple(prompts)


def _read(address: str, *, direct: bool, timeout: float) -> bytes:
    opener = build_opener(ProxyHandler({})) if direct else build_opener()
    with opener.open(address, timeout=timeout) as answer:
        text: bytes = answer.read(_MOST_BYTES)
        return text
