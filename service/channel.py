"""The two ends of the channel between the API process and one engine worker: ZeroMQ sockets in a private
folder, one for commands and one for events.

Knows how messages travel, not what they mean. Invariants: each direction holds a bounded number of messages
and a sender waits a bounded time; messages of one sender arrive in the order in which they were sent. A
channel belongs to one start of one worker and is never used for another.
"""

import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import zmq

from service.ipc import Command, Event, IpcError, decode_command, decode_event, encode

if TYPE_CHECKING:
    import zmq.asyncio

_PREFIX = "longtake-"
_OWNER = "owner"


class ChannelClosed(IpcError):
    """This end was closed."""


class ChannelFull(IpcError):
    """The other side has not read for so long that the high-water mark is reached."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Bounds of one channel; both ends are given the same."""

    messages: int
    """High-water mark of each direction, in messages."""
    message_bytes: int
    """A peer that sends a larger message is disconnected."""
    send_timeout: float
    """Seconds that a send may wait at the high-water mark."""
    linger: float
    """Seconds that the worker's closing may take to hand over what was sent."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """A folder that only this user may enter, with the two sockets of one channel in it."""

    folder: Path

    @classmethod
    def create(cls) -> "Endpoints":
        endpoints = cls(Path(tempfile.mkdtemp(prefix=_PREFIX)))
        (endpoints.folder / _OWNER).write_text(f"{os.getpid()} {_started(os.getpid())}", encoding="ascii")
        longest = max(len(os.fsencode(address)) for address in (endpoints.commands, endpoints.events))
        if longest - len("ipc://") > zmq.IPC_PATH_MAX_LEN:
            endpoints.remove()
            raise IpcError(
                f"expected socket paths of at most {zmq.IPC_PATH_MAX_LEN} bytes, "
                f"got {endpoints.folder}: set TMPDIR to a shorter path"
            )
        return endpoints

    @property
    def commands(self) -> str:
        return f"ipc://{self.folder}/commands"

    @property
    def events(self) -> str:
        return f"ipc://{self.folder}/events"

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_abandoned() -> int:
    """Remove the folders of this user's processes that were killed; how many.

    A folder without an owner is left alone: it may be in the making.
    """
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _is_abandoned(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        owner, _, started = (folder / _OWNER).read_text(encoding="ascii").partition(" ")
        return _started(int(owner)) != started
    except (OSError, ValueError):
        return False


def _started(process: int) -> str:
    """When a process began, in the system's ticks: a number is given again, this moment is not. Empty: it is gone."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A command and the monotonic second at which it reached the worker, however busy the engine was then."""

    command: Command
    at: float


class WorkerChannel:
    """The worker's end: blocking, connects. Its own thread reads, so that arrivals are timed at once.

    `send` may be called from any thread; `drain` and `wait` from one.
    """

    def __init__(
        self, endpoints: Endpoints, limits: ChannelLimits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._context = zmq.Context()
        self._commands = _socket(self._context, zmq.PULL, limits)
        self._events = _socket(self._context, zmq.PUSH, limits)
        self._commands.connect(endpoints.commands)
        self._events.connect(endpoints.events)
        self._clock = clock
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._inbox: queue.Queue[Arrival | IpcError | None] = queue.Queue(limits.messages)
        self._reader = threading.Thread(target=self._read, name="ipc-reader", daemon=True)
        self._reader.start()

    def send(self, event: Event) -> None:
        """Raises ChannelFull after `send_timeout`, ChannelClosed once this end is closed."""
        parts = encode(event)
        with self._sending:
            if self._closed.is_set():
                raise ChannelClosed("expected an open channel, this end was closed")
            try:
                self._events.send_multipart(parts)
            except zmq.Again as error:
                raise ChannelFull(f"the API process did not read; {type(event).__name__} not sent") from error

    def drain(self) -> list[Arrival]:
        """What has come since the last call, without waiting. Raises what reading raised."""
        arrivals: list[Arrival] = []
        while True:
            try:
                item = self._inbox.get_nowait()
            except queue.Empty:
                return arrivals
            if isinstance(item, IpcError):
                raise item
            if item is not None:
                arrivals.append(item)

    def wait(self, timeout: float) -> list[Arrival]:
        """Like `drain`, but waits up to `timeout` seconds for the first command or a `wake`."""
        try:
            item = self._inbox.get(timeout=max(timeout, 0.0))
        except queue.Empty:
            return []
        if isinstance(item, IpcError):
            raise item
        return ([] if item is None else [item]) + self.drain()

    @property
    def waiting(self) -> int:
        """Commands that have come and were not read yet, about."""
        return self._inbox.qsize()

    def wake(self) -> None:
        """Make a `wait` in another thread return at once."""
        try:
            self._inbox.put_nowait(None)
        except queue.Full:
            pass  # then the waiting thread has something to read anyway

    def close(self) -> None:
        """Hand over what was sent, within `linger`, and free the sockets. May be called twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._reader.join()
        with self._sending:
            self._events.close()
            self._context.term()

    def _read(self) -> None:
        try:
            while not self._closed.is_set():
                if not self._commands.poll(_READ_MILLISECONDS):
                    continue
                self._deliver(self._receive())
        finally:
            self._commands.close(linger=0)

    def _receive(self) -> Arrival | IpcError:
        parts = self._commands.recv_multipart()
        try:
            return Arrival(decode_command(parts), self._clock())
        except IpcError as error:
            return error

    def _deliver(self, item: Arrival | IpcError) -> None:
        while not self._closed.is_set():
            try:
                self._inbox.put(item, timeout=_READ_MILLISECONDS / 1000)
                return
            except queue.Full:
                continue  # the high-water mark of the socket holds the sender back meanwhile


class ApiChannel:
    """The API's end: for asyncio, binds. Any number of tasks may `send`; one may `receive`.

    ZeroMQ's asyncio layer is imported only here, because the worker imports this module and has no asyncio.
    """

    def __init__(self, endpoints: Endpoints, limits: ChannelLimits) -> None:
        import zmq.asyncio

        self._context: zmq.asyncio.Context = zmq.asyncio.Context()
        self._commands = _socket(self._context, zmq.PUSH, limits)
        self._events = _socket(self._context, zmq.PULL, limits)
        self._commands.bind(endpoints.commands)
        self._events.bind(endpoints.events)
        self._closed = False

    async def send(self, command: Command) -> None:
        """Raises ChannelFull after `send_timeout` (also where no worker came), ChannelClosed when closed."""
        self._require_open()
        try:
            await self._commands.send_multipart(encode(command))
        except zmq.Again as error:
            raise ChannelFull(f"the worker did not read; {type(command).__name__} not sent") from error

    async def receive(self, timeout: float) -> Event | None:
        """The next event, or None after `timeout` seconds without one."""
        self._require_open()
        if not await self._events.poll(round(timeout * 1000)):
            return None
        return decode_event(await self._events.recv_multipart())

    def close(self) -> None:
        """Free the sockets, at once: it is closed when the worker has ended. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._commands.close(linger=0)
        self._events.close()
        self._context.term()

    def _require_open(self) -> None:
        if self._closed:
            raise ChannelClosed("expected an open channel, this end was closed")


_READ_MILLISECONDS = 50
"""How often the reader looks whether the channel was closed; a message is read as it comes."""

_Socket = TypeVar("_Socket", bound="zmq.Socket[Any]")


def _socket(context: "zmq.Context[_Socket]", kind: int, limits: ChannelLimits) -> _Socket:
    socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, limits.messages)
    socket.setsockopt(zmq.RCVHWM, limits.messages)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.message_bytes)
    socket.setsockopt(zmq.SNDTIMEO, round(limits.send_timeout * 1000))
    socket.setsockopt(zmq.LINGER, round(limits.linger * 1000))
    return socket
