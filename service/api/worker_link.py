"""What the worker client has on its two sides: the way to a worker, and whoever listens to a session.

It knows the messages only. Invariant: neither side knows the other.
"""

from typing import Literal, Protocol

from service import ipc
from service.errors import ErrorCode

SessionCommand = ipc.Interact | ipc.Credit | ipc.Control | ipc.Playback | ipc.Rewind | ipc.Stop
LossKind = Literal["ended", "silent", "hung", "faulty", "deaf", "gpu_fault"]
"""Why a worker was lost: its process ended, it said nothing, its block took too long, it could not be understood, it
took no commands, or its GPU reported a fault."""


class WorkerLink(Protocol):
    """The way to one start of one worker; `service.channel.ApiChannel` is one."""

    async def send(self, command: ipc.Command) -> None: ...

    async def receive(self, timeout: float) -> ipc.Event | None: ...


class Host(Protocol):
    """Whoever talks to the starts of one supervised worker; the API's `WorkerClient` is one."""

    @property
    def loss(self) -> str: ...

    @property
    def stopping(self) -> bool:
        """No other start is wanted."""

    async def serve(self, link: WorkerLink) -> None:
        """One start, until it is lost."""

    def lose(self, reason: str, *, kind: LossKind = "ended", link: WorkerLink | None = None) -> None: ...

    def give_up(self) -> None: ...


class Listener(Protocol):
    """What a session's events are given to. None of these may wait or raise."""

    def deliver(self, event: ipc.SessionEvent) -> None: ...

    def queued(self, position: int, waiting: int) -> None: ...

    def admitted(self) -> None: ...

    def draining(self, deadline_seconds: float) -> None: ...

    def end(self, code: ErrorCode, message: str) -> None: ...

    def worker_lost(self, message: str) -> None:
        """The session keeps its place, and waits for another worker."""

    def worker_ready(self) -> None:
        """Another worker is there, and knows nothing of the session."""
