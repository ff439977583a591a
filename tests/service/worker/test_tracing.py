"""The worker's part of a trace: chunks and their stages below the session, and nothing where no trace was named."""

from dataclasses import dataclass, field

from service import ipc
from service.channel import Arrival
from service.telemetry.tracing import Attributes, Span, Untraced
from service.worker.tracing import TracedChannel

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass(slots=True)
class Kept:
    told: list[tuple[str, str, float, float]] = field(default_factory=list)

    def begin(self, name: str, *, parent: str = "", kind: str = "internal", attributes: Attributes) -> Span:
        return Untraced().begin(name, parent=parent, kind=kind, attributes=attributes)

    def tell(self, name: str, *, parent: str, began: float, ended: float, attributes: Attributes) -> str:
        assert attributes["longtake.session"] == "a"
        self.told.append((name, parent, round(began, 6), round(ended, 6)))
        return f"span of {name}"

    def close(self) -> None:
        """Nothing to send."""


@dataclass(slots=True)
class Wire:
    arrivals: list[Arrival] = field(default_factory=list)
    sent: list[ipc.Event] = field(default_factory=list)

    def send(self, event: ipc.Event) -> None:
        self.sent.append(event)

    def drain(self) -> list[Arrival]:
        found, self.arrivals = self.arrivals, []
        return found

    def wait(self, timeout: float) -> list[Arrival]:
        return self.drain()

    def wake(self) -> None:
        """Nobody waits."""


def chunk(session: str) -> ipc.Chunk:
    return ipc.Chunk(
        session=session,
        sequence=3,
        take=0,
        block=3,
        attempt=0,
        pts=2.25,
        fps=16,
        format="jpeg",
        frames=(),
        frames_sha256="0" * 64,
        event_ids=(),
        started_event_ids=(),
        completed_event_ids=(),
        events=(),
        lead_seconds=0.0,
        timings=ipc.StageMilliseconds(text=0, recache=0, denoise=300, clean=100, decode=50, encode=50),
        payload=b"",
    )


def start(session: str, traceparent: str = "") -> Arrival:
    prompts = (ipc.Prompt(text="a", weight=1.0),)
    return Arrival(ipc.Start(session=session, prompts=prompts, credits=1, traceparent=traceparent), 0.0)


def test_a_chunk_is_told_with_its_stages_one_after_the_other() -> None:
    kept, wire = Kept(), Wire([start("a", TRACE), start("b")])
    channel = TracedChannel(wire, kept, clock=lambda: 100.0)
    assert len(channel.drain()) == 2
    channel.send(chunk("a"))
    channel.send(chunk("b"))
    assert kept.told == [
        ("chunk", TRACE, 99.5, 100.0),
        ("denoise", "span of chunk", 99.5, 99.8),
        ("clean", "span of chunk", 99.8, 99.9),
        ("decode", "span of chunk", 99.9, 99.95),
        ("encode", "span of chunk", 99.95, 100.0),
    ]
    assert len(wire.sent) == 2


def test_a_session_that_ended_is_forgotten() -> None:
    kept, wire = Kept(), Wire([start("a", TRACE)])
    channel = TracedChannel(wire, kept)
    channel.wait(0.0)
    channel.send(ipc.Ended(session="a", reason="stopped", chunks=1, frames=12, journal="{}"))
    channel.send(chunk("a"))
    assert kept.told == []
    channel.wake()
