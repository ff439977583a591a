"""Sessions over REST, over a real store: what is answered, what is refused and how, and what the document says."""

import hashlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from service.access.principal import Principal, Scope
from service.api.problem import add_problem_handlers
from service.api.recordings import KEEP_SECONDS, RecordingRequest, Recordings
from service.api.sessions_routes import SessionRoutes, sessions_routes
from service.errors import REGISTRY, ErrorCode
from service.store.document import SessionDocument
from service.store.failures import SessionLive
from service.store.store import SessionStore
from tests.service.api.guests import let_in
from tests.service.store.values import LATENT_BYTES, add, fill, prompt, row, take

WRITE = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(sys.argv[2].encode() * 1000)"
FAIL = "import sys; print('error: latents_missing: gone', file=sys.stderr); sys.exit(2)"


@dataclass(slots=True)
class FakeRegistry:
    """Gives out tokens; `directed` are the sessions that somebody directs."""

    directed: set[str] = field(default_factory=set)
    issued: list[str] = field(default_factory=list)

    async def issue_token(self, session: str) -> str:
        if session in self.directed:
            raise SessionLive(session)
        self.issued.append(session)
        return f"token-{len(self.issued)}"


def command(request: RecordingRequest) -> Sequence[str]:
    if request.session == "gone":
        return [sys.executable, "-c", FAIL]
    if request.session == "broken":
        return [sys.executable, "-c", "raise SystemExit(1)"]
    if request.session == "slow":
        return [sys.executable, "-c", "import time; time.sleep(3600)"]
    return [sys.executable, "-c", WRITE, str(request.out), request.cut]


@dataclass(slots=True)
class Service:
    store: SessionStore
    registry: FakeRegistry
    client: httpx2.AsyncClient
    app: FastAPI

    async def ask(self, method: str, path: str = "", **options: object) -> httpx2.Response:
        return await self.client.request(method, f"/v1/sessions{path}", **options)  # type: ignore[arg-type]

    async def refused(self, method: str, path: str, code: ErrorCode, **options: object) -> None:
        answer = await self.ask(method, path, **options)
        assert answer.headers["Content-Type"] == "application/problem+json", answer.text
        assert (answer.json()["code"], answer.status_code) == (code, REGISTRY[code].http_status)
        assert ("Retry-After" in answer.headers) == REGISTRY[code].retryable


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    store = SessionStore(tmp_path / "store")
    registry = FakeRegistry()
    recordings = Recordings(store.folder, command, timeout=60.0)
    app = FastAPI()
    add_problem_handlers(app)
    let_in(app)
    app.include_router(sessions_routes(SessionRoutes(store, registry, recordings=recordings)))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield Service(store, registry, client, app)
    store.close()


async def test_the_list_has_pages(service: Service) -> None:
    for number in range(5):
        await fill(service.store, f"s{number}", 1, created_at=1000.0 + number)
    seen, cursor = [], None
    for more in (True, True, False):
        page = (await service.ask("GET", params={"limit": 2} | ({"after": cursor} if cursor else {}))).json()
        seen += [session["id"] for session in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] is more is (cursor is not None)
    assert seen == ["s4", "s3", "s2", "s1", "s0"]
    await service.refused("GET", "", ErrorCode.CURSOR_INVALID, params={"after": "x"})
    await service.refused("GET", "", ErrorCode.FIELD_RANGE, params={"limit": 0})


async def test_a_session_and_its_journal(service: Service) -> None:
    await fill(service.store, "a", 3)
    await add(service.store, "a", row(3, 1, take=1), events=(take(1, 1),))
    found = (await service.ask("GET", "/a")).json()
    assert (found["status"], found["chunks"], found["blocks"], found["frames"]) == ("live", 4, 2, 24)
    assert (found["seconds"], found["latent_bytes"], found["seed"]) == (1.5, 4 * LATENT_BYTES, 2**63 - 1)
    document = SessionDocument.from_json((await service.ask("GET", "/a/journal")).text)
    assert [chunk.sequence for chunk in document.chunks] == [0, 1, 2, 3]
    assert json.loads(document.journal())["events"] == [json.loads(prompt(0)), json.loads(take(1, 1))]


async def test_what_is_not_there_is_404_everywhere(service: Service) -> None:
    for method, path in (
        ("GET", "/b"),
        ("GET", "/b/journal"),
        ("GET", "/b/recording"),
        ("POST", "/b/resume"),
        ("DELETE", "/b"),
    ):
        await service.refused(method, path, ErrorCode.SESSION_UNKNOWN)
    for point in ({}, {"block": 0}, {"sequence": 0}, {"seconds": 0.0}):
        await service.refused("POST", "/b/fork", ErrorCode.SESSION_UNKNOWN, json=point)


@pytest.mark.parametrize(
    ("point", "block"),
    [
        ({}, 3),
        ({"block": 1}, 1),
        ({"sequence": 2}, 2),
        ({"sequence": 3}, 1),
        ({"seconds": 0.8}, 1),
        ({"seconds": 9}, 3),
    ],
)
async def test_a_fork_begins_where_it_was_asked_to(service: Service, point: dict[str, object], block: int) -> None:
    await fill(service.store, "a", 3)
    await add(service.store, "a", row(3, 1))
    await add(service.store, "a", row(4, 2))
    answer = await service.ask("POST", "/a/fork", json=point)
    ticket = answer.json()
    assert (answer.status_code, ticket["block"], ticket["next_sequence"]) == (201, block, block)
    assert (ticket["resume_token"], ticket["seconds"]) == ("token-1", block * 0.75)
    fork = await service.store.get(ticket["session_id"])
    assert (fork.parent, fork.end_reason) == ("a", "forked")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"block": 4}, ErrorCode.FORK_POINT_INVALID),
        ({"sequence": 9}, ErrorCode.FORK_POINT_INVALID),
        ({"block": 1, "seconds": 1.0}, ErrorCode.FIELD_TYPE),
        ({"block": -1}, ErrorCode.FIELD_RANGE),
        ({"block": "1"}, ErrorCode.FIELD_TYPE),
        ({"block": 2**40}, ErrorCode.FIELD_RANGE),
        ({"more": 1}, ErrorCode.FIELD_UNKNOWN),
        ([], ErrorCode.FIELD_TYPE),
    ],
)
async def test_a_fork_that_cannot_be_is_refused(service: Service, body: object, code: ErrorCode) -> None:
    await fill(service.store, "a", 3)
    await service.refused("POST", "/a/fork", code, json=body)
    assert len((await service.store.list()).records) == 1


async def test_resume_gives_a_token_unless_somebody_directs(service: Service) -> None:
    await fill(service.store, "a", 2)
    ticket = (await service.ask("POST", "/a/resume")).json()
    assert (ticket["session_id"], ticket["next_sequence"], ticket["block"]) == ("a", 2, 2)
    service.registry.directed.add("a")
    await service.refused("POST", "/a/resume", ErrorCode.SESSION_LIVE)


async def test_delete_is_for_what_has_ended(service: Service) -> None:
    await fill(service.store, "a", 2)
    await service.refused("DELETE", "/a", ErrorCode.SESSION_LIVE)
    await service.store.end_session("a", "stopped")
    assert (await service.ask("DELETE", "/a")).status_code == 204
    assert not (service.store.folder / "latents" / "a").exists()
    await service.refused("DELETE", "/a", ErrorCode.SESSION_UNKNOWN)


def etag(answer: httpx2.Response, cut: str) -> str:
    """That of the recording of a cut; the answer's is one too."""
    assert answer.headers["ETag"].strip('"') == hashlib.sha256(answer.content).hexdigest()
    return f'"{hashlib.sha256(cut.encode() * 1000).hexdigest()}"'


async def test_a_recording_is_a_file_that_is_kept_for_a_while(service: Service) -> None:
    for name in ("a", "gone", "broken"):
        await fill(service.store, name, 1)
    for cut in ("final", "aired"):
        answer = await service.ask("GET", "/a/recording", params={"cut": cut})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "video/mp4")
        assert answer.content == cut.encode() * 1000
        assert answer.headers["Content-Length"] == str(len(answer.content))
    part = await service.ask("GET", "/a/recording", headers={"Range": "bytes=5-9", "If-Range": etag(answer, "final")})
    assert (part.status_code, part.content) == (206, b"final"[:5])
    known = await service.ask("GET", "/a/recording", headers={"If-None-Match": etag(answer, "final")})
    assert (known.status_code, known.content) == (304, b"")
    await service.refused("GET", "/gone/recording", ErrorCode.LATENTS_MISSING)
    await service.refused("GET", "/broken/recording", ErrorCode.RECORDING_FAILED)
    await service.refused("GET", "/a/recording", ErrorCode.FIELD_CHOICE, params={"cut": "all"})
    kept = list((service.store.folder / "recordings").iterdir())
    assert len(kept) == 2, "one of each cut, and nothing of what failed"
    head = await service.ask("HEAD", "/a/recording")
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["ETag"], head.headers["Content-Length"]) == (etag(answer, "final"), "5000")
    assert list((service.store.folder / "recordings").iterdir()) == kept, "ranges and heads make none again"
    await service.store.end_session("a", "stopped")
    assert (await service.ask("DELETE", "/a")).status_code == 204
    assert list((service.store.folder / "recordings").iterdir()) == []


async def test_recordings_are_kept_up_to_a_time_and_a_size_and_while_they_are_true(tmp_path: Path) -> None:
    now, made = [0.0], list[str]()

    def counting(request: RecordingRequest) -> Sequence[str]:
        made.append(request.session)
        return command(request)

    recordings = Recordings(tmp_path, counting, timeout=60.0, keep_bytes=12_000, clock=lambda: now[0])

    async def asked(session: str, state: str = "1") -> None:
        found = await recordings.record(session, "final", state=state)
        with found.file as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == found.etag
            assert file.tell() == found.size == 5000

    for session in ("a", "b", "a", "b"):
        await asked(session)
    assert made == ["a", "b"]
    await asked("a", "2")
    assert made == ["a", "b", "a"], "it has changed"
    await asked("c")
    await asked("a", "2")
    assert made == ["a", "b", "a", "c"]
    await asked("b")
    assert made[4:] == ["b"], "there was room for two"
    now[0] += KEEP_SECONDS
    await asked("b")
    assert made[5:] == ["b"]
    assert len(list((tmp_path / "recordings").iterdir())) == 1


async def test_a_recording_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, command, timeout=0.2)
    with pytest.raises(Exception, match=r"not ready within 0\.2 s"):
        await recordings.record("slow", "final", state="")
    assert list((tmp_path / "recordings").iterdir()) == []


async def test_what_is_another_tenants_is_not_there(service: Service) -> None:
    await fill(service.store, "a", 1)
    let_in(service.app, Principal("studio", "k", frozenset(Scope)))
    for method, path in (
        ("GET", "/a"),
        ("GET", "/a/journal"),
        ("POST", "/a/resume"),
        ("DELETE", "/a"),
        ("GET", "/a/recording"),
    ):
        await service.refused(method, path, ErrorCode.SESSION_UNKNOWN)
    await service.refused("POST", "/a/fork", ErrorCode.SESSION_UNKNOWN, json={})
    assert (await service.ask("GET")).json()["data"] == []
    assert [record.id for record in (await service.store.list()).records] == ["a"]


async def test_who_may_only_read_changes_nothing(service: Service) -> None:
    await fill(service.store, "a", 1)
    let_in(service.app, Principal("local", "k", frozenset({Scope.SESSIONS_READ})))
    assert (await service.ask("GET", "/a")).status_code == 200
    await service.refused("DELETE", "/a", ErrorCode.SCOPE_MISSING)
    await service.refused("POST", "/a/resume", ErrorCode.SCOPE_MISSING)
    let_in(service.app, Principal("local", "k", frozenset({Scope.VIDEOS})))
    await service.refused("GET", "/a", ErrorCode.SCOPE_MISSING)


def test_every_status_is_in_the_document(service: Service) -> None:
    document = service.app.openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            statuses = set(operation["responses"])
            assert {"400", "422", "503"} <= statuses, (method, path)
            assert ("404" in statuses) == ("{session}" in path)
    recording = document["paths"]["/v1/sessions/{session}/recording"]["get"]
    assert list(recording["responses"]["200"]["content"]) == ["video/mp4"]
