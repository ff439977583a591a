"""The beat says what the loop does, and the watch sees the other end of its pipe closed."""

import os
import threading

import psutil
import pytest
import torch

from service.ipc import Event, Heartbeat, IpcError
from service.worker.heartbeat import HeartbeatThread, device_bytes, resident_bytes, watch_parent
from service.worker.loop import Progress

PATIENCE = 60.0


class Listener:
    """Collects beats until there are enough."""

    def __init__(self, enough: int) -> None:
        self.beats: list[Heartbeat] = []
        self.done = threading.Event()
        self._enough = enough

    def __call__(self, event: Event) -> None:
        assert isinstance(event, Heartbeat)
        self.beats.append(event)
        if len(self.beats) >= self._enough:
            self.done.set()


def test_beats_carry_progress_and_the_time_since_it() -> None:
    listener = Listener(3)
    progress, memory = Progress(moved_at=0.0, busy=True, blocks=7, sessions=2), iter((5, None, 9))
    thread = HeartbeatThread(progress, send=listener, interval=0.01, device_memory=lambda: next(memory, 9))
    assert listener.done.wait(PATIENCE)
    thread.stop()
    first, *_, last = listener.beats
    assert (first.sessions, first.blocks, first.busy) == (2, 7, True)
    assert last.idle_seconds > first.idle_seconds
    assert first.memory_bytes > 0
    assert [beat.device_memory_bytes for beat in listener.beats[:3]] == [5, None, 9]


def test_a_channel_that_fails_does_not_end_the_thread() -> None:
    calls, twice = [], threading.Event()

    def send(event: Event) -> None:
        calls.append(event)
        if len(calls) == 2:
            twice.set()
        raise IpcError("full")

    thread = HeartbeatThread(Progress(moved_at=0.0), send=send, interval=0.01, device_memory=lambda: None)
    assert twice.wait(PATIENCE)
    thread.stop()


def test_resident_memory_is_what_the_system_says() -> None:
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


def test_only_a_cuda_device_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"cuda": 3, "cuda:1": 4}
    monkeypatch.setattr(torch.cuda, "memory_allocated", held.__getitem__)
    assert [device_bytes(device) for device in ("cpu", "cuda", "cuda:1")] == [None, 3, 4]


def test_the_watch_ends_with_the_other_end_of_the_pipe() -> None:
    reading, writing = os.pipe()
    died = threading.Event()
    thread = watch_parent(reading, on_death=died.set)
    os.write(writing, b"more settings")
    assert not died.is_set()
    os.close(writing)
    assert died.wait(PATIENCE)
    thread.join(PATIENCE)
    os.close(reading)
