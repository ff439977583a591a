"""Bytes from an address into a file, going on where they were broken off; and where a file of the hub is to be had.

The hub's own client says where a file is, how long and of which sum, and with which token; its download starts anew at
each attempt, so the bytes are fetched here. A line that drops is tried again as long as each attempt brings something.
Knows nothing of presets; whether a file is the right one is for the caller to check.
"""

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from models.errors import PresetError

PIECE: Final = 2**20
ANSWER_TIMEOUT: Final = 60.0
"""Seconds without a byte after which a line counts as dropped."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class FetchError(PresetError):
    """A file could not be had. What is there already stays, and the next attempt goes on from it."""

    code = "download_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a file is, and what is known of it there."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Attempts in a row that may bring nothing, and the seconds between two."""

    attempts: int = 5
    wait: float = 2.0


def hub_address(repository: str, path: str, *, revision: str | None, endpoint: str | None = None) -> Address:
    """Where the hub has a file. Raises FetchError if it has not, or cannot be asked."""
    try:
        from httpx2 import HTTPError
        from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    except ImportError as error:
        message = f"downloads need the package huggingface-hub (extra `checkpoints`): {error}"
        raise FetchError(message, field="files", code="package_missing") from error
    try:
        url = hf_hub_url(repository, path, revision=revision, endpoint=endpoint)
        token = get_token()
        found = get_hf_file_metadata(url, token=token, endpoint=endpoint)
    except (HTTPError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise FetchError(f"{repository}/{path}: expected it on the hub: {reason}", field="files") from error
    # A token is for the hub alone: large files lie with others, under addresses that carry their own permission.
    same = urlsplit(found.location).netloc == urlsplit(url).netloc
    return Address(
        url=found.location,
        headers={"Authorization": f"Bearer {token}"} if token and same else {},
        size=found.size,
        sha256=found.etag if found.etag and _SHA256.fullmatch(found.etag) else None,
    )


def download(address: Address, part: Path, *, count: Callable[[int], None], patience: Patience) -> None:
    """Complete `part`, which may hold the beginning already. `count` is told how many bytes of it there are.

    Raises FetchError; what has come stays in `part`.
    """
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        reason = _attempt(address, part, count)
        if reason is None:
            return
        failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
        if failures >= patience.attempts:
            raise FetchError(f"{address.url}: {reason}", field="files")
        time.sleep(patience.wait)


def _attempt(address: Address, part: Path, count: Callable[[int], None]) -> str | None:
    """Fetch what is missing; None if nothing is any more, else why not all came."""
    start = part.stat().st_size if part.exists() else 0
    if address.size is not None and start >= address.size:
        if start == address.size:
            return None
        os.truncate(part, 0)
        start = 0
    try:
        with urllib.request.urlopen(_request(address, start), timeout=ANSWER_TIMEOUT) as answer:
            return _receive(answer, part, start=start if answer.status == 206 else 0, count=count)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there is no more of it than is here
            return None
        if error.code < 500 and error.code not in (408, 429):
            raise FetchError(f"{address.url}: {error}", field="files") from error
        return str(error)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def _receive(answer: http.client.HTTPResponse, part: Path, *, start: int, count: Callable[[int], None]) -> str | None:
    expected = answer.length  # of this answer; None where the other side does not say
    done = start
    with open(part, "ab" if start else "wb") as writing:
        while piece := answer.read(PIECE):
            writing.write(piece)
            done += len(piece)
            count(done)
    if expected is not None and done < start + expected:
        return f"the line dropped after {done} of {start + expected} bytes"
    return None


def _request(address: Address, start: int) -> urllib.request.Request:
    request = urllib.request.Request(address.url)
    for name, value in address.headers.items():
        request.add_unredirected_header(name, value)
    if start:
        request.add_header("Range", f"bytes={start}-")
    return request
