"""Frames to bytes and back, order per session, and what happens to a picture that cannot be encoded."""

import dataclasses
import hashlib
import io
import shutil
import tempfile
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from service.errors import ErrorCode
from service.ipc import Applied, Chunk, Ended, Event, Format, IpcError, Stored
from service.latent_files import latent_path
from service.media import Mark, read_mark
from service.worker.engine import Frames
from service.worker.latents import LatentFiles
from service.worker.media import (
    Application,
    ChannelBroken,
    ChunkFailed,
    ChunkSent,
    EncodeJob,
    Lane,
    LateJob,
    MediaStalled,
    MediaThreads,
    Report,
    encode_frames,
    tell_stored,
)
from tests.service.worker.fake_engine import FPS, FakeBlock, fake_frames
from tests.service.worker.fakes import Clock

PATIENCE = 60.0


def ended(number: int) -> Ended:
    return Ended(session="s", reason="stopped", chunks=number, frames=0, journal="")


def encoded(frames: Frames, format: Format, *, quality: int) -> tuple[list[int], bytes]:
    return encode_frames(frames, format, quality=quality, first=0, fps=FPS, sequence=0)


@pytest.mark.parametrize("format", ["png", "raw"])
def test_lossless_formats_give_the_same_pixels_back(format: Format) -> None:
    frames = fake_frames(1, "p", 0, 3)
    lengths, payload = encoded(frames, format, quality=85)
    assert np.array_equal(_decode(lengths, payload, format, frames.shape), frames)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_lossy_formats_give_nearly_the_same_pixels_back(format: Format) -> None:
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    frames = np.broadcast_to(ramp[None, :, None, None], (2, 32, 32, 3)).copy()
    lengths, payload = encoded(frames, format, quality=95)
    difference = _decode(lengths, payload, format, frames.shape).astype(int) - frames
    assert len(lengths) == 2
    assert np.abs(difference).mean() < 3


def test_a_lower_quality_is_smaller() -> None:
    frames = fake_frames(1, "p", 0, 2)
    assert len(encoded(frames, "jpeg", quality=20)[1]) < len(encoded(frames, "jpeg", quality=95)[1])


def test_the_lane_keeps_the_order_of_places_whoever_is_ready_first() -> None:
    sent: list[Event] = []
    lane = Lane(sent.append)
    first, second = lane.take_place(), lane.take_place()
    lane.fill(second, lambda send, _now: send(ended(2)))
    lane.post(ended(3))
    assert sent == []
    lane.fill(first, lambda send, _now: send(ended(1)))
    assert sent == [ended(1), ended(2), ended(3)]


def test_a_place_is_filled_once_and_only_if_it_was_taken() -> None:
    lane = Lane(lambda _event: None)
    with pytest.raises(AssertionError, match="never taken"):
        lane.fill(0, lambda _send, _now: None)
    lane.take_place()
    late = lane.take_place()
    lane.fill(late, lambda _send, _now: None)
    with pytest.raises(AssertionError, match="filled already"):
        lane.fill(late, lambda _send, _now: None)


@dataclass
class Studio:
    """Encoder threads with lists at both ends."""

    threads: int = 2
    queue_size: int = 16
    mark_frames: bool = False
    clock: Clock = field(default_factory=Clock)
    sent: list[Event] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))

    def __post_init__(self) -> None:
        weakref.finalize(self, shutil.rmtree, self.root, ignore_errors=True)
        self.latents = LatentFiles(self.root, "s")
        self.lane = Lane(self.sent.append, clock=self.clock)
        self.media = MediaThreads(
            self.threads,
            queue_size=self.queue_size,
            report=self.reports.append,
            clock=self.clock,
            mark_frames=self.mark_frames,
        )

    def job(
        self, number: int, *, block: FakeBlock | None = None, applications: tuple[Application, ...] = ()
    ) -> EncodeJob:
        block = block or FakeBlock(number, fake_frames(7, "p", number, 4), (), ())
        self.latents.keep(number, block.latents)
        return EncodeJob(
            session="s",
            lane=self.lane,
            place=self.lane.take_place(),
            block=block,
            events=(),
            latents=self.latents,
            sequence=number,
            pts=number * 0.5,
            fps=FPS,
            format="raw",
            quality=85,
            event_ids=("e",),
            started_event_ids=tuple(one.event_id for one in applications),
            applications=applications,
            lead_seconds=0.25,
        )

    def finish(self) -> list[Event]:
        self.media.close(PATIENCE)
        return self.sent


def test_a_chunk_says_where_each_frame_is_and_what_it_holds() -> None:
    studio = Studio()
    studio.media.submit(studio.job(3), timeout=PATIENCE)
    (chunk,) = studio.finish()
    assert isinstance(chunk, Chunk)
    frames = fake_frames(7, "p", 3, 4)
    assert chunk.payload == frames.tobytes()
    assert chunk.frames_sha256 == hashlib.sha256(frames.tobytes()).hexdigest()
    assert [span.pts for span in chunk.frames] == [1.5, 1.625, 1.75, 1.875]
    assert [(span.offset, span.length) for span in chunk.frames] == [
        (n * frames[0].nbytes, frames[0].nbytes) for n in range(4)
    ]
    assert (chunk.sequence, chunk.block, chunk.event_ids) == (3, 3, ("e",))
    assert studio.reports == [ChunkSent("s", 1.5, studio.clock.now)]


def test_marks_are_in_what_is_sent_and_in_nothing_else() -> None:
    studio = Studio(mark_frames=True)
    frames = np.zeros((4, 32, 96, 3), np.uint8)
    studio.media.submit(studio.job(5, block=FakeBlock(5, frames, (), ())), timeout=PATIENCE)
    (chunk,) = studio.finish()
    assert isinstance(chunk, Chunk)
    sent = np.frombuffer(chunk.payload, np.uint8).reshape(frames.shape)
    assert [read_mark(frame) for frame in sent] == [Mark(5, place) for place in range(4)]
    assert not frames.any()
    assert chunk.frames_sha256 == hashlib.sha256(frames.tobytes()).hexdigest(), "the hash is the video's own"


def test_chunks_leave_in_order_from_many_threads() -> None:
    studio = Studio(threads=4, queue_size=64)
    for number in range(40):
        studio.media.submit(studio.job(number), timeout=PATIENCE)
    sent = studio.finish()
    assert [chunk.sequence for chunk in sent if isinstance(chunk, Chunk)] == list(range(40))
    assert len(studio.reports) == 40


def test_applied_goes_before_its_chunk_and_measures_to_the_moment_of_leaving() -> None:
    studio = Studio()
    application = Application("e", arrived_at=studio.clock.now, begun_at=studio.clock.now + 0.25)
    studio.clock.now += 1.0
    studio.media.submit(studio.job(0, applications=(application,)), timeout=PATIENCE)
    applied, chunk = studio.finish()
    assert applied == Applied(session="s", event_id="e", sequence=0, block=0, queued_ms=250.0, latency_ms=1000.0)
    assert isinstance(chunk, Chunk)
    assert chunk.started_event_ids == ("e",)


def test_a_picture_that_cannot_be_encoded_is_reported_and_holds_up_nobody() -> None:
    studio = Studio()
    broken: Frames = np.zeros((0, 16, 16, 3), dtype=np.uint8)
    studio.media.submit(studio.job(0, block=FakeBlock(0, broken, (), ())), timeout=PATIENCE)
    studio.media.submit(studio.job(1), timeout=PATIENCE)
    sent = studio.finish()
    assert [chunk.sequence for chunk in sent if isinstance(chunk, Chunk)] == [1]
    assert {type(report) for report in studio.reports} == {ChunkFailed, ChunkSent}


def test_a_broken_channel_is_reported() -> None:
    studio = Studio()

    def refuse(_event: Event) -> None:
        raise IpcError("gone")

    studio.lane = Lane(refuse)
    studio.media.submit(studio.job(0), timeout=PATIENCE)
    studio.media.close(PATIENCE)
    (report,) = studio.reports
    assert isinstance(report, ChannelBroken)


def test_the_queue_is_bounded_and_waiting_for_it_too() -> None:
    studio = Studio(threads=1, queue_size=1)
    gate, reached = threading.Event(), threading.Event()

    def wait_at_gate(_event: Event) -> None:
        reached.set()
        gate.wait(PATIENCE)

    studio.lane = Lane(wait_at_gate)
    first, second, third = (studio.job(number) for number in range(3))
    studio.media.submit(first, timeout=PATIENCE)
    assert reached.wait(PATIENCE)
    studio.media.submit(second, timeout=PATIENCE)
    with pytest.raises(MediaStalled, match=r"0\.01"):
        studio.media.submit(third, timeout=0.01)
    gate.set()
    studio.media.close(PATIENCE)


def test_closing_waits_a_bounded_time() -> None:
    studio = Studio(threads=1, queue_size=1)
    gate, sent = threading.Event(), threading.Event()

    def wait_at_gate(_event: Event) -> None:
        gate.wait(PATIENCE)
        sent.set()

    studio.lane = Lane(wait_at_gate)
    studio.media.submit(studio.job(0), timeout=PATIENCE)
    studio.media.close(0.01)
    assert not sent.is_set()  # the thread is still at its job, and nothing waited for it
    gate.set()
    assert sent.wait(PATIENCE)


def _decode(lengths: list[int], payload: bytes, format: Format, shape: tuple[int, ...]) -> Frames:
    if format == "raw":
        return np.frombuffer(payload, dtype=np.uint8).reshape(shape)
    pictures, offset = [], 0
    for length in lengths:
        pictures.append(np.asarray(Image.open(io.BytesIO(payload[offset : offset + length])).convert("RGB")))
        offset += length
    return np.stack(pictures)


def test_a_chunk_leaves_when_its_latents_are_in_their_file() -> None:
    studio = Studio()
    whole: list[bool] = []
    studio.lane = Lane(lambda _event: whole.append(latent_path(studio.root, "s", sequence=0).is_file()))
    studio.media.submit(studio.job(0), timeout=PATIENCE)
    studio.media.close(PATIENCE)
    assert whole == [True]


def test_a_chunk_of_a_job_whose_latents_cannot_be_stored_does_not_leave() -> None:
    studio = Studio()
    (studio.root / "latents").write_text("a file where the folder should be")
    studio.media.submit(dataclasses.replace(studio.job(0), must_store=True), timeout=PATIENCE)
    studio.media.close(PATIENCE)
    assert studio.sent == []
    (report,) = studio.reports
    assert isinstance(report, ChunkFailed)
    assert report.code is ErrorCode.STORE_FAILED


def test_a_chunk_that_somebody_watches_leaves_and_is_stored_when_the_disk_takes_it() -> None:
    studio = Studio(threads=1)
    blocked = studio.root / "latents"
    blocked.write_text("a file where the folder should be")
    late = LateJob("s", studio.lane, studio.latents)
    for number in range(3):
        studio.media.submit(studio.job(number), timeout=PATIENCE)
    studio.media.submit(late, timeout=PATIENCE)  # in vain
    studio.media.close(PATIENCE)
    assert [(chunk.sequence, chunk.stored) for chunk in studio.sent if isinstance(chunk, Chunk)] == [
        (0, False),
        (1, False),
        (2, False),
    ]
    assert studio.latents.late == 3
    assert torch.equal(studio.latents.read(1), FakeBlock(1, fake_frames(7, "p", 1, 4), (), ()).latents)
    blocked.unlink()
    tell_stored(late)
    assert studio.sent[3:] == [Stored(session="s", sequence=number) for number in range(3)]
    assert studio.latents.late == 0
    assert all(latent_path(studio.root, "s", sequence=number).is_file() for number in range(3))


def test_what_waits_for_the_disk_has_a_bound() -> None:
    studio = Studio(threads=1)
    one = studio.job(0).block.latents.nbytes
    studio.latents = LatentFiles(studio.root, "s", room=2 * one)
    (studio.root / "latents").write_text("a file where the folder should be")
    full = []
    for number in range(2):
        studio.latents.keep(number, studio.job(number).block.latents)
        studio.latents.put_off(number)
        full.append(studio.latents.full)
    assert full == [False, True]
    (studio.root / "latents").unlink()
    told: list[int] = []
    studio.latents.store_late(told.append)
    assert told == [0, 1]
    assert not studio.latents.full
