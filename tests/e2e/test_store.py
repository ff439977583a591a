"""What a service stored, by the whole way: client, server, worker, store, and the commands that read it afterwards."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import av
import pytest

from client.client import Session, connect
from client.comeback import ResumeTicket, fork_ticket
from client.http import Server
from client.requests import Place
from client.sessions import ask_for_ticket
from tests.serving import ROOT, running_service

PROMPT = "a red ball bounces over a grassy meadow by day"
LATER = "a yellow star circles over the sea at night"
LIMIT = 240.0


def longtake(*words: str) -> dict[str, Any]:
    """The last line that a command says, which is JSON."""
    result = subprocess.run(
        [sys.executable, "-m", "service", *words], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert result.returncode == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return document


def ask(address: str, path: str, method: str = "GET") -> bytes:
    with urlopen(Request(f"http://{address}/v1/sessions{path}", method=method), timeout=LIMIT) as answer:
        content: bytes = answer.read()
        return content


async def take(session: Session, count: int) -> list[str]:
    async with asyncio.timeout(LIMIT):
        return [(await anext(session)).frames_sha256 for _ in range(count)]


async def film(url: str) -> tuple[ResumeTicket, ResumeTicket, list[str]]:
    """A prompt, a rewind and a fork on the way; then the session is left. Tickets of both, and the hashes that came."""
    async with connect(url) as session:
        await session.start(PROMPT, seed=5, pacing="none")
        hashes = await take(session, 2)
        await session.prompt(LATER, event_id="later")
        hashes += await take(session, 3)
        await session.rewind(Place(sequence=2))
        hashes += await take(session, 3)
        fork = await session.fork(Place(sequence=1))
        ticket = await session.leave()
    assert ticket is not None
    return fork_ticket(fork), ticket, hashes


async def go_on(url: str, ticket: ResumeTicket, count: int) -> tuple[list[int], list[str]]:
    async with connect(url) as session:
        await session.attach(ticket, paced=False)
        numbers, hashes = [], []
        for _ in range(count):
            async with asyncio.timeout(LIMIT):
                chunk = await anext(session)
            numbers.append(chunk.sequence)
            hashes.append(chunk.frames_sha256)
        await session.finish()
    return numbers, hashes


def test_a_session_its_fork_and_its_return_are_stored_and_replay(tmp_path: Path) -> None:
    store, video = tmp_path / "store", tmp_path / "video.mp4"
    with running_service("--set", f"store_dir={store}") as address:
        url = f"ws://{address}"
        fork, ticket, hashes = asyncio.run(film(url))
        session = ticket.session_id
        numbers, later = asyncio.run(go_on(url, ticket, 3))
        assert numbers[0] == (ticket.last_sequence or 0) + 1
        assert numbers == list(range(numbers[0], numbers[0] + 3))
        numbers, forked = asyncio.run(go_on(url, fork, 3))
        assert numbers[0] == (fork.last_sequence or 0) + 1
        # It ended, and goes on once more over REST.
        numbers, _ = asyncio.run(go_on(url, asyncio.run(ask_for_ticket(Server(url), session)), 2))
        document = json.loads(ask(address, f"/{session}/journal"))
        stored = [chunk["frames_sha256"] for chunk in document["chunks"]]
        assert [number for number in numbers if number >= len(stored)] == []
        listed = [found["id"] for found in json.loads(ask(address, ""))["data"]]
        assert set(listed) == {session, fork.session_id}
        video.write_bytes(ask(address, f"/{session}/recording?cut=final"))
    # What came is a part of what was stored, in its order.
    places = [stored.index(found) for found in hashes + later]
    assert places == sorted(places)
    assert forked[0] not in stored, "a fork is another take"
    for name in (session, fork.session_id):
        report = longtake("replay", name, "--store", str(store), "--json")
        assert (report["exact"], report["equal"]) == (True, report["chunks"])
    details = longtake("sessions", "show", session, "--store", str(store), "--json")
    course = {chunk["block"]: chunk for chunk in details["chunks"]}
    with av.open(str(video)) as opened:
        frames = sum(1 for _ in opened.decode(video=0))
    assert frames == sum(chunk["frames"] for chunk in course.values())


def test_deleting_takes_the_latents_and_a_live_session_stays(tmp_path: Path) -> None:
    store = tmp_path / "store"

    async def watch(address: str) -> str:
        async with connect(f"ws://{address}") as session:
            info = await session.start(PROMPT, seed=5, pacing="none")
            await take(session, 1)
            with pytest.raises(HTTPError, match="409"):
                await asyncio.to_thread(ask, address, f"/{info.session_id}", "DELETE")
            await session.finish()
        return info.session_id

    with running_service("--set", f"store_dir={store}") as address:
        session = asyncio.run(watch(address))
        assert any((store / "latents" / session).iterdir())
        ask(address, f"/{session}", "DELETE")
        assert not (store / "latents" / session).exists()
        with pytest.raises(HTTPError, match="404"):
            ask(address, f"/{session}")
