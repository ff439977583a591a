"""`longtake stream`'s work, whole takes against the fake server: files, report, schedule and early ends."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from client.client import connect
from client.connection import ClientOptions
from client.errors import ConnectFailed, SessionDrained, SessionFailed, TakeEndedEarly
from client.recording import TakeFiles
from client.requests import PromptChange
from client.stream import JournalPrompt, StreamOptions, expected_frames, run, run_take
from service.errors import ProtocolError
from service.protocol.client import SessionInteraction, WeightedPrompt
from service.protocol.server import SessionDraining, VideoDiscard
from tests.client.fake_server import FRAMES, Peer, fake_server, make_chunk, whole_take

QUICK = ClientOptions(start_timeout=60.0, message_timeout=60.0, close_timeout=1.0)


def paced(chunk_seconds: float) -> Callable[[Peer], Awaitable[None]]:
    async def script(peer: Peer) -> None:
        await whole_take(peer, chunk_seconds=chunk_seconds)

    return script


def interactions(peer: Peer) -> list[SessionInteraction]:
    return [message for message in peer.received if isinstance(message, SessionInteraction)]


def frame_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [Fraction(frame.pts or 0) * (frame.time_base or Fraction(0)) for frame in container.decode(stream)]


async def test_take_is_recorded_and_reported(tmp_path: Path) -> None:
    files = TakeFiles(video=tmp_path / "take.mp4", hashes=tmp_path / "hashes.txt", journal=tmp_path / "journal.json")
    async with fake_server(whole_take) as server:
        options = StreamOptions("a fox", 3.0, url=server.url, seed=7, pacing="none", files=files, client=QUICK)
        report = await run_take(options)
        asked = server.peers[0].received[0]
    assert (report.frames, report.seconds, report.chunks) == (4 * FRAMES, 3.0, 4)
    assert (report.missing, report.duplicated, report.switches) == (0, 0, ())
    assert report.first_frame_ms is not None
    assert report.fps > 0.0
    assert asked.model_dump()["seed"] == 7
    assert frame_times(tmp_path / "take.mp4") == [Fraction(index, 16) for index in range(48)]
    hashes = (tmp_path / "hashes.txt").read_text().splitlines()
    assert hashes == [make_chunk(sequence)[0].frames_sha256 for sequence in range(4)]
    assert json.loads((tmp_path / "journal.json").read_text()) == {"version": 1, "events": []}


async def test_prompts_are_sent_when_the_media_has_come_so_far() -> None:
    """Unpaced: as received. The first chunk that the server can show it in is the next it makes."""
    prompts = (PromptChange("a boat", at=3.0, mode="flush"), PromptChange("a hill", at=1.5))
    async with fake_server(paced(0.05)) as server:
        options = StreamOptions("a fox", 6.0, url=server.url, prompts=prompts, pacing="none", client=QUICK)
        report = await run_take(options)
        sent = interactions(server.peers[0])
    assert [(message.prompt, message.mode, message.at) for message in sent] == [
        ("a hill", "recache", None),
        ("a boat", "flush", None),
    ]
    assert [switch.prompt for switch in report.switches] == ["a hill", "a boat"]
    for switch, earliest in zip(report.switches, (2, 4), strict=True):
        assert switch.chunk is not None
        assert switch.chunk >= earliest
        assert None not in (switch.queued_ms, switch.applied_ms, switch.received_ms)


async def test_paced_prompts_wait_for_the_second_on_screen() -> None:
    """All chunks are here at once, and yet the prompt leaves only when its second is shown."""
    clock = asyncio.get_running_loop().time
    arrived: list[float] = []

    async def script(peer: Peer) -> None:
        await peer.start()
        arrived.append(clock())
        await peer.chunk(0)
        await peer.next()
        arrived.append(clock())
        await peer.done(1)

    async with fake_server(script) as server:
        prompts = (PromptChange("a boat", at=0.25),)
        await run_take(StreamOptions("a fox", 1.0, url=server.url, prompts=prompts, client=QUICK))
    assert arrived[1] - arrived[0] >= 0.25


async def test_server_keeps_the_schedule_to_the_block() -> None:
    blend = (WeightedPrompt(text="a boat"), WeightedPrompt(text="a hill"))
    prompts = (PromptChange(blend, at=1.5, transition_chunks=2), PromptChange("a mill", at=3.1))
    async with fake_server(paced(0.05)) as server:
        options = StreamOptions(
            "a fox", 6.0, url=server.url, prompts=prompts, schedule="server", pacing="none", client=QUICK
        )
        report = await run_take(options)
        sent = interactions(server.peers[0])
    assert [(message.at, message.transition_chunks) for message in sent] == [(1.5, 2), (3.1, 0)]
    assert [(switch.prompt, switch.chunk) for switch in report.switches] == [("a boat + a hill", 2), ("a mill", 5)]


async def test_prompt_whose_second_never_comes_is_reported_as_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    prompts = (PromptChange("a boat", at=60.0),)
    async with fake_server(whole_take) as server:
        report = await run_take(StreamOptions("a fox", 1.5, url=server.url, prompts=prompts, client=QUICK))
    (switch,) = report.switches
    assert (switch.prompt, switch.queued_ms, switch.received_ms, switch.chunk) == ("a boat", None, None, None)
    assert "prompt 'a boat' was not sent: the take ended before its second" in capsys.readouterr().err


async def test_failed_take_leaves_what_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.fail("rate_limited", fatal=False, message="Slower.")
        await peer.chunk(1)
        await peer.fail("worker_died")

    files = TakeFiles(video=tmp_path / "take.mp4", hashes=tmp_path / "hashes.txt", journal=tmp_path / "journal.json")
    async with fake_server(script) as server:
        with pytest.raises(TakeEndedEarly, match="after 24 of 144 frames: worker_died") as early:
            await run_take(StreamOptions("a fox", 9.0, url=server.url, files=files, client=QUICK))
    assert (early.value.report.frames, early.value.report.chunks) == (2 * FRAMES, 2)
    assert isinstance(early.value.reason, SessionFailed)
    assert len(frame_times(tmp_path / "take.mp4")) == 2 * FRAMES
    assert len((tmp_path / "hashes.txt").read_text().splitlines()) == 2
    assert not (tmp_path / "journal.json").exists()
    assert "the server says: rate_limited: Slower." in capsys.readouterr().err


async def test_drained_take_is_early_and_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.send(SessionDraining(deadline_seconds=3.0))
        await peer.done(1, "drained")

    files = TakeFiles(video=tmp_path / "take.mp4", journal=tmp_path / "journal.json")
    async with fake_server(script) as server:
        with pytest.raises(TakeEndedEarly, match="after 12 of 144 frames: the server is shutting down") as early:
            await run_take(StreamOptions("a fox", 9.0, url=server.url, files=files, client=QUICK))
    assert isinstance(early.value.reason, SessionDrained)
    assert len(frame_times(tmp_path / "take.mp4")) == FRAMES
    assert (tmp_path / "journal.json").exists()
    assert "ends the take in 3 s at the latest" in capsys.readouterr().err


async def test_recording_is_what_was_aired(tmp_path: Path) -> None:
    """Chunk 1 is taken back before its time: the file has what came instead, at its time."""

    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.chunk(1)
        await asyncio.sleep(0.1)
        await peer.send(VideoDiscard(from_sequence=1, next_sequence=2, reason="prompt"))
        await peer.chunk(2, pts=0.75)
        await peer.done(3)

    files = TakeFiles(video=tmp_path / "take.mp4", hashes=tmp_path / "hashes.txt")
    async with fake_server(script) as server:
        report = await run_take(StreamOptions("a fox", 1.5, url=server.url, files=files, client=QUICK))
    assert report.missing == 0
    assert frame_times(tmp_path / "take.mp4") == [Fraction(index, 16) for index in range(24)]
    kept = [make_chunk(sequence)[0].frames_sha256 for sequence in (0, 2)]
    assert (tmp_path / "hashes.txt").read_text().splitlines() == kept


async def test_prompts_of_a_journal_go_out_ahead_of_their_blocks() -> None:
    """Each with the second at which its block begins, cuts counted; what was taken back is in the report."""
    asked: list[SessionInteraction] = []

    async def script(peer: Peer) -> None:
        await peer.start(first_block_frames=9)
        for _ in range(2):
            message = await peer.next()
            assert isinstance(message, SessionInteraction)
            asked.append(message)
        await peer.chunk(0)
        await peer.chunk(1)
        await peer.send(VideoDiscard(from_sequence=1, next_sequence=2, reason="prompt"))
        await peer.chunk(2, pts=0.75)
        await peer.done(3)

    replayed = (
        JournalPrompt(PromptChange("sea", mode="cut"), 3, 0, "prompt-1"),
        JournalPrompt(PromptChange("fog"), 5, 1, "prompt-2"),
    )
    async with fake_server(script) as server:
        options = StreamOptions("a fox", 1.5, url=server.url, pacing="none", replayed=replayed, client=QUICK)
        report = await run_take(options)
    # Block 3 begins after 33 frames; block 5 after 33 + 9 + 12 of them. Half a frame less, so that it is not missed.
    assert [message.at for message in asked] == [32.5 / 16, 53.5 / 16]
    assert [message.mode for message in asked] == ["cut", "recache"]
    assert (report.discarded, report.missing) == (1, 0)


@pytest.mark.parametrize("drained", [False, True])
async def test_command_says_in_one_line_that_the_take_ended_early(drained: bool, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await (peer.done(1, "drained") if drained else peer.fail("worker_died"))

    async with fake_server(script) as server:
        words = ("-m", "service", "stream", "--prompt", "a fox", "--seconds", "3", "--json", "--url", server.url)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            *("-o", str(tmp_path / "take.mp4")),
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 1
    assert json.loads(out)["frames"] == FRAMES
    last = err.decode().splitlines()[-1]
    code = "server_draining" if drained else "worker_died"
    assert last.startswith(f"error: {code}: the take ended early, after 12 of 48 frames: ")
    assert len(frame_times(tmp_path / "take.mp4")) == FRAMES


async def test_lost_chunks_leave_a_gap_in_the_video(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.chunk(0)
        await peer.chunk(2)
        await peer.done(3)

    files = TakeFiles(video=tmp_path / "take.mp4")
    async with fake_server(script) as server:
        report = await run_take(StreamOptions("a fox", 3.0, url=server.url, files=files, client=QUICK))
    assert (report.chunks, report.missing, report.frames) == (2, 1, 2 * FRAMES)
    assert frame_times(tmp_path / "take.mp4") == [Fraction(index, 16) for index in [*range(12), *range(24, 36)]]


@pytest.mark.parametrize(
    ("first", "seconds", "expected"),
    [(12, 0.1, 12), (12, 0.75, 12), (12, 0.76, 24), (12, 8.0, 132), (9, 0.5, 9), (9, 8.0, 129)],
)
async def test_progress_bar_counts_whole_chunks(first: int, seconds: float, expected: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.start(first_block_frames=first)
        await peer.done(0)

    async with fake_server(script) as server, connect(server.url, QUICK) as session:
        assert expected_frames(await session.start("a fox"), seconds) == expected


async def test_interrupt_ends_the_take_properly(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await whole_take(peer, chunk_seconds=0.01)

    async with fake_server(script) as server:
        files = TakeFiles(journal=tmp_path / "journal.json")
        take = asyncio.create_task(run_take(StreamOptions("a fox", 600.0, url=server.url, files=files, client=QUICK)))
        while not server.peers or not server.peers[0].received:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        report = await take
    assert 0 < report.chunks < 800
    assert (tmp_path / "journal.json").exists()


@pytest.mark.parametrize("change", [PromptChange(" "), PromptChange("a boat", transition_chunks=65)])
def test_wrong_prompts_are_refused_before_anything_is_sent(change: PromptChange) -> None:
    with pytest.raises(ProtocolError):
        run(StreamOptions("a fox", 3.0, url="ws://127.0.0.1:1", prompts=(change,)))


def test_file_that_cannot_be_written_is_noticed_before_the_take(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a path in a folder that exists"):
        run(StreamOptions("a fox", 3.0, url="ws://127.0.0.1:1", files=TakeFiles(video=tmp_path / "no" / "take.mp4")))


def test_no_server() -> None:
    with pytest.raises(ConnectFailed):
        run(StreamOptions("a fox", 3.0, url="ws://127.0.0.1:1"))


async def test_fake_server_is_a_server_like_any_other() -> None:
    async with fake_server(whole_take) as server, connect(server.url, QUICK) as session:
        await session.start("a fox", max_seconds=0.75)
        assert [chunk.sequence async for chunk in session] == [0]
