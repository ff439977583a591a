"""The two ends over real sockets: order, bounds, arrival times, garbage and closing."""

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from service.channel import (
    ApiChannel,
    ChannelClosed,
    ChannelFull,
    ChannelLimits,
    Endpoints,
    WorkerChannel,
    remove_abandoned,
)
from service.ipc import Command, Credit, Dead, Heartbeat, IpcError, MalformedMessage, Stop, VersionMismatch, encode

LIMITS = ChannelLimits(messages=8, message_bytes=1 << 20, send_timeout=0.05, linger=0.5)
PATIENCE = 5.0


@pytest.fixture
def endpoints() -> Iterator[Endpoints]:
    made = Endpoints.create()
    yield made
    made.remove()
    assert not made.folder.exists()


@pytest.fixture
def worker(endpoints: Endpoints) -> Iterator[WorkerChannel]:
    channel = WorkerChannel(endpoints, LIMITS)
    yield channel
    channel.close()


def test_the_folder_is_private_and_its_paths_short(endpoints: Endpoints) -> None:
    assert stat.S_IMODE(os.stat(endpoints.folder).st_mode) == 0o700
    assert endpoints.commands != endpoints.events


def test_a_path_too_long_for_a_socket_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(IpcError, match="TMPDIR"):
        Endpoints.create()
    assert list(deep.iterdir()) == []


def test_folders_of_killed_processes_are_removed_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine, theirs, unfinished = Endpoints.create(), Endpoints.create(), Endpoints.create()
    (unfinished.folder / "owner").unlink()
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    (theirs.folder / "owner").write_text(f"{gone.pid} 12345")
    again = Endpoints.create()
    (again.folder / "owner").write_text(f"{os.getpid()} 1")  # another process had this number before
    (tmp_path / "longtake-a-file").write_text("")
    assert remove_abandoned() == 2
    assert sorted(tmp_path.glob("longtake-*")) == sorted([mine.folder, unfinished.folder, tmp_path / "longtake-a-file"])


async def test_messages_arrive_in_order_both_ways(endpoints: Endpoints) -> None:
    api, worker = ApiChannel(endpoints, LIMITS), WorkerChannel(endpoints, LIMITS)
    sent: list[Command] = [Credit(session="s", chunks=number) for number in range(5)]
    for command in sent:
        await api.send(command)
    got = await asyncio.to_thread(_read, worker, len(sent))
    assert got == sent
    for number in range(5):
        worker.send(Dead(code=str(number), message=""))
    received = [await api.receive(PATIENCE) for _ in range(5)]
    assert received == [Dead(code=str(number), message="") for number in range(5)]
    worker.close()
    api.close()


async def test_receive_returns_none_where_nothing_comes(endpoints: Endpoints) -> None:
    api = ApiChannel(endpoints, LIMITS)
    assert await api.receive(0.01) is None
    api.close()


async def test_sending_to_a_worker_that_does_not_read_is_bounded(endpoints: Endpoints) -> None:
    api = ApiChannel(endpoints, LIMITS)
    with pytest.raises(ChannelFull, match="Credit"):
        await _send_many(api, 100, session="s")
    api.close()


def test_sending_to_an_api_that_does_not_read_is_bounded(worker: WorkerChannel) -> None:
    def send_many() -> None:
        for _ in range(100):
            worker.send(Dead(code="", message=""))

    with pytest.raises(ChannelFull, match="Dead"):
        send_many()


async def test_the_inbox_is_bounded_and_loses_nothing(endpoints: Endpoints) -> None:
    api, worker = ApiChannel(endpoints, LIMITS), WorkerChannel(endpoints, LIMITS)
    large = "s" * 300_000  # more than the kernel keeps for a socket, so that only our own bounds count
    sent: list[Command] = []
    with pytest.raises(ChannelFull):
        await _send_many(api, 200, session=large, sent=sent)
    assert len(sent) <= 4 * LIMITS.messages  # a mark on each socket, the inbox, and what is between them
    assert await asyncio.to_thread(_read, worker, len(sent)) == sent
    worker.close()
    api.close()


async def test_arrivals_are_timed_when_they_come_not_when_they_are_read(endpoints: Endpoints) -> None:
    api, worker = ApiChannel(endpoints, LIMITS), WorkerChannel(endpoints, LIMITS)
    await api.send(Stop(session="s"))
    await asyncio.to_thread(_until, lambda: bool(worker.waiting))
    before_reading = time.monotonic()
    (arrival,) = worker.drain()
    assert arrival.at < before_reading
    worker.close()
    api.close()


def test_wake_ends_a_wait_without_a_message(worker: WorkerChannel) -> None:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(worker.wait(60.0)))
    thread.start()
    worker.wake()
    thread.join(PATIENCE)
    assert results == [[]]


def test_wait_gives_up_after_its_timeout(worker: WorkerChannel) -> None:
    assert worker.wait(0.01) == []
    assert worker.wait(-1.0) == []


@pytest.mark.parametrize(
    ("parts", "error"),
    [([b"another", b"x"], VersionMismatch), ([encode(Stop(session=""))[0], b"\xc1"], MalformedMessage)],
)
def test_garbage_raises_in_the_reader_of_the_inbox(
    endpoints: Endpoints, parts: list[bytes], error: type[IpcError]
) -> None:
    worker = WorkerChannel(endpoints, LIMITS)
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.bind(endpoints.commands)
        socket.send_multipart(parts)
        with pytest.raises(error):
            _read(worker, 1)
    worker.close()


async def test_garbage_raises_on_the_side_of_the_api(endpoints: Endpoints) -> None:
    api = ApiChannel(endpoints, LIMITS)
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(endpoints.events)
        socket.send_multipart([b"garbage"])
        with pytest.raises(MalformedMessage):
            await api.receive(PATIENCE)
    api.close()


async def test_a_closed_end_says_so_and_closes_once(endpoints: Endpoints) -> None:
    api, worker = ApiChannel(endpoints, LIMITS), WorkerChannel(endpoints, LIMITS)
    for _ in range(2):
        worker.close()
        api.close()
    with pytest.raises(ChannelClosed):
        worker.send(Dead(code="", message=""))
    with pytest.raises(ChannelClosed):
        await api.send(Stop(session="s"))
    with pytest.raises(ChannelClosed):
        await api.receive(0.01)


async def test_last_words_are_handed_over_when_closing(endpoints: Endpoints) -> None:
    api, worker = ApiChannel(endpoints, LIMITS), WorkerChannel(endpoints, LIMITS)
    worker.send(Dead(code="engine_failed", message="m"))
    worker.close()
    assert await api.receive(PATIENCE) == Dead(code="engine_failed", message="m")
    api.close()


async def test_many_threads_may_send(endpoints: Endpoints) -> None:
    api, worker = ApiChannel(endpoints, LIMITS), WorkerChannel(endpoints, ChannelLimits(512, 1 << 20, 5.0, 0.5))
    beats = [Heartbeat(sessions=n, idle_seconds=0.0, busy=False, blocks=0, memory_bytes=0) for n in range(40)]

    def send(part: list[Heartbeat]) -> None:
        for beat in part:
            worker.send(beat)

    threads = [threading.Thread(target=send, args=(beats[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    received = [await api.receive(PATIENCE) for _ in beats]
    assert sorted(beat.sessions for beat in received if isinstance(beat, Heartbeat)) == list(range(40))
    for thread in threads:
        thread.join(PATIENCE)
    worker.close()
    api.close()


async def _send_many(api: ApiChannel, count: int, *, session: str, sent: list[Command] | None = None) -> None:
    for number in range(count):
        command = Credit(session=session, chunks=number)
        await api.send(command)
        if sent is not None:
            sent.append(command)


def _until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends_at, "it did not happen in time"
        time.sleep(0.005)


def _read(worker: WorkerChannel, count: int) -> list[Command]:
    commands: list[Command] = []
    ends_at = time.monotonic() + PATIENCE
    while len(commands) < count and time.monotonic() < ends_at:
        commands += [arrival.command for arrival in worker.wait(0.1)]
    return commands
