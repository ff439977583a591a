"""The routes of videos over a queue in memory, and a client for them.

Invariant: nothing of it opens a socket or starts a process, unless a test brings what does.
"""

import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from fastapi import FastAPI
from sqlalchemy import Connection

from service.access.principal import LOCAL, Principal
from service.api.gate import principal_of
from service.api.problem import add_problem_handlers
from service.api.videos.webhooks import Webhooks
from service.api.videos.wiring import VideoParts
from service.config import ServiceConfig
from service.errors import REGISTRY, ErrorCode
from service.hooks import PromptHooks, hooks_of
from service.outbound.addresses import Address
from service.outbound.fetching import Outbound, outbound_of
from service.store.webhooks import WebhookBook
from service.uploads.checking import Check, Checked
from service.uploads.kinds import Kind
from tests.service.api.videos.memory_jobs import MemoryJobs

T = TypeVar("T")

CONFIG = ServiceConfig(max_seconds=300.0, max_timeline_prompts=8, max_batch_items=50)
OTHER = Principal("other", "key", LOCAL.scopes)


async def anything(data: bytes, field: str) -> Checked:
    """What a file is has a test of its own."""
    return Checked(Kind.PICTURE, 1, 1)


async def public(host: str) -> tuple[Address, ...]:
    """Every name is somewhere on the internet; nobody goes there."""
    return (ipaddress.ip_address("1.1.1.1"),)


@dataclass(slots=True)
class Rest:
    """`principal` may be changed by a test."""

    jobs: MemoryJobs
    app: FastAPI
    client: httpx2.AsyncClient
    principal: Principal = LOCAL

    async def make(self, **fields: object) -> dict[str, Any]:
        """A video that is asked for; the answer."""
        answer = await self.client.post("/v1/videos", json={"prompt": "a red ball"} | fields)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def rest(
    folder: Path,
    config: ServiceConfig = CONFIG,
    *,
    check: Check = anything,
    outbound: Outbound | None = None,
    hooks: PromptHooks | None = None,
    webhooks: Callable[[VideoParts], Webhooks] = lambda parts: parts.webhooks(WebhookBook(nowhere, nowhere)),
) -> AsyncIterator[Rest]:
    jobs = MemoryJobs(folder)
    default = outbound_of(config)
    quiet = Outbound(rule=default.rule, resolver=public)
    parts = VideoParts(
        config=config, hooks=hooks or hooks_of(config), outbound=outbound or quiet, check=check, facts=lambda: None
    )
    app = FastAPI()
    add_problem_handlers(app)
    for router in parts.routers(jobs, webhooks(parts)):
        app.include_router(router)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        found = Rest(jobs, app, client)
        app.dependency_overrides[principal_of] = lambda: found.principal
        yield found


async def nowhere(work: Callable[[Connection], T]) -> T:
    raise AssertionError("nobody asks for webhooks here")


def assert_problem(answer: httpx2.Response, code: ErrorCode, param: str | None = None) -> dict[str, Any]:
    """The answer is a problem of this code, also for a client that looks at `error` alone."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (body["code"], body["error"]["code"]) == (code, code), body
    assert answer.status_code == REGISTRY[code].http_status
    assert body["error"]["param"] == param, body
    assert body["error"]["message"]
    return body
