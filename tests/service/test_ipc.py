"""Every message survives the way there and back, and whatever is not a message is a typed error."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import ipc
from tests.service.worker.fakes import FACTS

COMMANDS: list[ipc.Command] = [
    ipc.Start(
        session="s",
        prompts=(ipc.Prompt("a", 0.5), ipc.Prompt("b")),
        seed=2**63 - 1,
        model="demo",
        width=96,
        height=96,
        format="png",
        pacing="none",
        max_seconds=1.5,
        credits=2,
        event_id="first",
    ),
    ipc.Interact(
        session="s", event_id="e", prompts=(ipc.Prompt("c"),), mode="cut", sink="refresh", transition_chunks=3, at=4.0
    ),
    ipc.Credit(session="s", chunks=2),
    ipc.Control(session="s", action="quality", quality=40, event_id="e"),
    ipc.Playback(session="s", position=1.5, buffered=0.5, dropped=3),
    ipc.Start(
        session="s",
        prompts=(),
        credits=2,
        buffer_seconds=4.0,
        course=ipc.Course(journal="{}", blocks=(ipc.CourseBlock(0, 9), ipc.CourseBlock(4, 12)), sequence=5),
        take=2,
    ),
    ipc.Rewind(session="s", block=3, take=1, event_id="e"),
    ipc.Stop(session="s"),
    ipc.Shutdown(),
]
EVENTS: list[ipc.Event] = [
    ipc.Ready(facts=FACTS),
    ipc.Started(
        session="s",
        seed=1,
        model="demo",
        width=96,
        height=96,
        fps=16,
        block_frames=3,
        frames_per_block=12,
        first_block_frames=9,
    ),
    ipc.Full(session="s"),
    ipc.Queued(session="s", event_id="e", ahead_blocks=2),
    ipc.Applied(session="s", event_id="e", sequence=3, block=3, queued_ms=1.0, latency_ms=2.0),
    ipc.Superseded(session="s", event_id="e", by="f"),
    ipc.Rejected(session="s", event_id="e", code="prompt_empty", message="m", field="prompt"),
    ipc.ControlApplied(session="s", action="pause", sequence=4, event_id="e"),
    ipc.Discarded(session="s", from_sequence=3, next_sequence=6, block=2, reason="rewind"),
    ipc.Rewound(session="s", block=2, take=1, sequence=6, event_id="e"),
    ipc.Stored(session="s", sequence=3),
    ipc.Warned(session="s", code="prompt_truncated", message="m", event_id="e", kept_characters=200),
    ipc.Chunk(
        session="s",
        sequence=0,
        take=0,
        block=0,
        attempt=0,
        pts=0.0,
        fps=16,
        format="raw",
        frames=(ipc.FrameSpan(0, 2, 0.0), ipc.FrameSpan(2, 1, 0.0625)),
        frames_sha256="ab",
        event_ids=("e",),
        timings=ipc.StageMilliseconds(denoise=5.0),
        payload=b"\x00\xff\x01",
    ),
    ipc.Ended(session="s", reason="completed", chunks=1, frames=9, journal="{}"),
    ipc.Failed(session="s", code="position_limit", message="m"),
    ipc.Heartbeat(sessions=1, idle_seconds=0.1, busy=True, blocks=7, memory_bytes=1),
    ipc.Heartbeat(sessions=1, idle_seconds=0.1, busy=True, blocks=7, memory_bytes=1, device_memory_bytes=2**40),
    ipc.Dead(code="engine_failed", message="m"),
]


def test_the_lists_here_hold_every_message() -> None:
    assert {type(command) for command in COMMANDS} == set(ipc.COMMANDS)
    assert {type(event) for event in EVENTS} == set(ipc.EVENTS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_commands_round_trip(command: ipc.Command) -> None:
    assert ipc.decode_command(ipc.encode(command)) == command


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_round_trip(event: ipc.Event) -> None:
    assert ipc.decode_event(ipc.encode(event)) == event


def test_a_command_is_not_an_event() -> None:
    with pytest.raises(ipc.MalformedMessage, match="Start"):
        ipc.decode_event(ipc.encode(COMMANDS[0]))


def test_another_version_is_refused_before_anything_is_decoded() -> None:
    with pytest.raises(ipc.VersionMismatch, match="longtake-ipc/1"):
        ipc.decode_command([b"longtake-ipc/2", b"\xc1"])


@pytest.mark.parametrize("parts", [[], [ipc.PROTOCOL], [ipc.PROTOCOL, b"", b""]])
def test_a_wrong_number_of_parts_is_named(parts: list[bytes]) -> None:
    with pytest.raises(ipc.MalformedMessage, match=f"got {len(parts)}"):
        ipc.decode_command(parts)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"type": "Nonsense"}, "Nonsense"),
        ({"session": "s"}, "type"),
        ({"type": "Stop"}, "session"),
        ({"type": "Stop", "session": 3}, "session"),
        ({"type": "Stop", "session": "s", "extra": 1}, "extra"),
        ({"type": "Start", "session": "s", "prompts": [], "credits": "two"}, "credits"),
        ({"type": "Start", "session": "s", "prompts": [], "credits": 2, "format": "gif"}, "gif"),
        ([1, 2], "object"),
    ],
)
def test_a_body_that_does_not_fit_names_what_is_wrong(body: object, named: str) -> None:
    with pytest.raises(ipc.MalformedMessage, match=named):
        ipc.decode_command([ipc.PROTOCOL, msgspec.msgpack.encode(body)])


@given(st.lists(st.binary(max_size=64), max_size=3))
def test_garbage_raises_nothing_but_its_own_errors(parts: list[bytes]) -> None:
    for decode in (ipc.decode_command, ipc.decode_event):
        with pytest.raises(ipc.IpcError):
            decode(parts)


@given(st.binary(max_size=200))
def test_garbage_under_the_right_protocol_is_malformed(body: bytes) -> None:
    with pytest.raises(ipc.MalformedMessage):
        ipc.decode_command([ipc.PROTOCOL, body])


@given(st.sampled_from([ipc.encode(one)[1] for one in (*COMMANDS, *EVENTS)]), st.data())
def test_a_message_cut_short_is_malformed(body: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ipc.MalformedMessage):
        ipc.decode_event([ipc.PROTOCOL, body[:length]])


def test_deep_nesting_is_malformed() -> None:
    with pytest.raises(ipc.MalformedMessage):
        ipc.decode_command([ipc.PROTOCOL, b"\x91" * 100_000])
