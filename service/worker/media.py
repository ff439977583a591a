"""Pixels to bytes, in threads of their own, and out of the worker in the order of each session.

Knows frames, picture formats and lanes; knows nothing of the engine, pacing or what an interaction means. Invariants:
what is put on a lane leaves it in the order in which its place was taken, whichever thread is ready first; a chunk
leaves only after its latents are in their file, or says that they wait for the disk; the queue of work is bounded; what
cannot be encoded or stored is reported and does not end the thread.
"""

import contextlib
import io
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from PIL import Image

from service.errors import ErrorCode
from service.ipc import Applied, Chunk, Event, Format, FrameSpan, IpcError, StageMilliseconds, Stored, changed
from service.media import draw_marks, encode_fragment
from service.worker.engine import EngineBlock, Frames
from service.worker.latents import LatentFiles
from service.worker.thumbnails import write_thumbnail

logger = logging.getLogger(__name__)

Send: TypeAlias = Callable[[Event], None]
Emit: TypeAlias = Callable[[Send, float], None]
"""Sends the events of one place on a lane; the number is the present moment."""


class Lane:
    """The way out for one session. A place is taken in order and filled when its content is ready."""

    def __init__(self, send: Send, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._lock = threading.Lock()
        self._filled: dict[int, Emit] = {}
        self._taken = 0
        self._left = 0

    def take_place(self) -> int:
        with self._lock:
            self._taken += 1
            return self._taken - 1

    def fill(self, place: int, emit: Emit) -> None:
        """Raises IpcError if the channel does."""
        with self._lock:
            assert self._left <= place < self._taken, f"place {place} was never taken or has left already"
            assert place not in self._filled, f"place {place} is filled already"
            self._filled[place] = emit
            while (ready := self._filled.pop(self._left, None)) is not None:
                self._left += 1
                ready(self._send, self._clock())

    def post(self, event: Event) -> None:
        """Behind everything that has a place now."""
        self.fill(self.take_place(), lambda send, _now: send(event))


@dataclass(frozen=True, slots=True)
class Application:
    """An interaction whose first block a chunk is."""

    event_id: str
    arrived_at: float
    begun_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeJob:
    """One block on its way out."""

    session: str
    lane: Lane
    place: int
    block: EngineBlock
    sequence: int
    pts: float
    fps: int
    format: Format
    quality: int
    event_ids: tuple[str, ...]
    started_event_ids: tuple[str, ...]
    events: tuple[str, ...]
    """Of the journal, since the block before."""
    applications: tuple[Application, ...]
    latents: LatentFiles
    """Has the block's, under its sequence."""
    lead_seconds: float
    """Media made, this block included, less what is shown, when the block was finished."""
    must_store: bool = False
    """Nobody watches it: rather than going on without a file, it fails."""


@dataclass(frozen=True, slots=True)
class LateJob:
    """A session of which something waits for the disk: it is tried again."""

    session: str
    lane: Lane
    latents: LatentFiles


@dataclass(frozen=True, slots=True)
class ChunkSent:
    session: str
    pts: float
    at: float


@dataclass(frozen=True, slots=True)
class ChunkFailed:
    session: str
    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class ChannelBroken:
    error: IpcError


Report: TypeAlias = ChunkSent | ChunkFailed | ChannelBroken


class MediaStalled(RuntimeError):
    """The encoder threads did not take a job in time."""


class MediaThreads:
    """A fixed number of encoder threads behind one bounded queue.

    `report` is called from those threads; every block ends in exactly one report.
    """

    def __init__(
        self,
        threads: int,
        *,
        queue_size: int,
        report: Callable[[Report], None],
        clock: Callable[[], float],
        mark_frames: bool = False,
    ) -> None:
        self._jobs: queue.Queue[EncodeJob | LateJob | None] = queue.Queue(queue_size)
        self._report = report
        self._clock = clock
        self._mark_frames = mark_frames
        self._threads = [
            threading.Thread(target=self._work, name=f"encoder-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: EncodeJob | LateJob, *, timeout: float) -> None:
        try:
            self._jobs.put(job, timeout=timeout)
        except queue.Full as error:
            raise MediaStalled(f"expected an encoder thread to be free within {timeout} s") from error

    def try_again(self, job: LateJob) -> None:
        """Where the threads have the time for it."""
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait(job)

    def close(self, timeout: float) -> None:
        """Finish what was submitted, waiting at most `timeout` seconds for it."""
        ends_at = time.monotonic() + timeout
        for _ in self._threads:
            try:
                self._jobs.put(None, timeout=max(0.0, ends_at - time.monotonic()))
            except queue.Full:
                break
        for thread in self._threads:
            thread.join(max(0.0, ends_at - time.monotonic()))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if isinstance(job, LateJob):
                    tell_stored(job)
                else:
                    self._deliver(job)
            except IpcError as error:
                self._report(ChannelBroken(error))

    def _deliver(self, job: EncodeJob) -> None:
        started = time.perf_counter()
        number = job.block.index
        try:
            stored = _store(job)
            write_thumbnail(job.latents.thumbnail, job.block.frames, sequence=job.sequence)
            lengths, payload = self._encoded(job)
            sha256 = job.block.frames_sha256
        except OSError as error:
            self._give_up(job, ErrorCode.STORE_FAILED, f"the latents of block {number} could not be stored: {error}")
            return
        except Exception as error:  # a thread's boundary: one session's picture must not end the thread
            logger.exception("session %s: block %d cannot be encoded", job.session, number)
            self._give_up(job, ErrorCode.INTERNAL_ERROR, f"block {number} could not be encoded: {error}")
            return
        encode_ms = (time.perf_counter() - started) * 1000
        chunk = changed(_chunk(job, lengths, payload, sha256, encode_ms=encode_ms), stored=stored)
        job.lane.fill(job.place, lambda send, now: self._emit(job, chunk, send, now))

    def _encoded(self, job: EncodeJob) -> tuple[list[int], bytes]:
        frames, first = job.block.frames, round(job.pts * job.fps)
        if self._mark_frames:
            frames = draw_marks(frames, sequence=job.sequence)
        return encode_frames(frames, job.format, quality=job.quality, first=first, fps=job.fps, sequence=job.sequence)

    def _give_up(self, job: EncodeJob, code: ErrorCode, message: str) -> None:
        """The session ends; nothing of this block leaves."""
        job.lane.fill(job.place, lambda _send, _now: None)
        self._report(ChunkFailed(job.session, code, message))

    def _emit(self, job: EncodeJob, chunk: Chunk, send: Send, now: float) -> None:
        for application in job.applications:
            send(_applied(job, application, now))
        send(chunk)
        self._report(ChunkSent(job.session, job.pts, now))


def _store(job: EncodeJob) -> bool:
    """Whether the latents are in their file. Raises OSError where they have to be."""
    try:
        job.latents.store(job.sequence)
    except OSError as error:
        if job.must_store:
            raise
        logger.warning("session %s: the latents of block %d wait: %s", job.session, job.block.index, error)
        job.latents.put_off(job.sequence)
        return False
    return True


def tell_stored(job: LateJob) -> None:
    """Write what waits for the disk, as far as it takes it, and say so. Raises IpcError."""
    job.latents.store_late(lambda sequence: job.lane.post(Stored(session=job.session, sequence=sequence)))


def encode_frames(
    frames: Frames, format: Format, *, quality: int, first: int, fps: int, sequence: int
) -> tuple[list[int], bytes]:
    """The length of each encoded frame, and all of them joined in order.

    With format `m4s` the first frame's has the head of the fragment, which says where in the video it stands: from
    frame `first` on. Raises FragmentError there, OSError or ValueError elsewhere.
    """
    if format == "m4s":
        return encode_fragment(frames, first=first, fps=fps, quality=quality, number=sequence)
    if format == "raw":
        return [frames[0].nbytes] * len(frames), frames.tobytes()
    encoded = [_encode(frame, format, quality=quality) for frame in frames]
    return [len(one) for one in encoded], b"".join(encoded)


def frame_spans(lengths: Iterable[int], *, pts: float, fps: int) -> tuple[FrameSpan, ...]:
    """Where frames of these lengths lie when they are joined, and when each is shown, the first at `pts`."""
    spans, offset = [], 0
    for number, length in enumerate(lengths):
        spans.append(FrameSpan(offset, length, pts + number / fps))
        offset += length
    return tuple(spans)


def _encode(frame: Frames, format: Format, *, quality: int) -> bytes:
    options: dict[str, Any] = {"jpeg": {"quality": quality}, "webp": {"quality": quality, "method": 0}}.get(
        format, {"compress_level": 1}
    )
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format.upper(), **options)
    return buffer.getvalue()


def _applied(job: EncodeJob, application: Application, now: float) -> Applied:
    return Applied(
        session=job.session,
        event_id=application.event_id,
        sequence=job.sequence,
        block=job.block.index,
        queued_ms=(application.begun_at - application.arrived_at) * 1000,
        latency_ms=(now - application.arrived_at) * 1000,
    )


def _chunk(job: EncodeJob, lengths: list[int], payload: bytes, sha256: str, *, encode_ms: float) -> Chunk:
    block, timings = job.block, job.block.timings
    return Chunk(
        session=job.session,
        sequence=job.sequence,
        take=block.take,
        block=block.index,
        attempt=block.attempt,
        pts=job.pts,
        fps=job.fps,
        format=job.format,
        frames=frame_spans(lengths, pts=job.pts, fps=job.fps),
        frames_sha256=sha256,
        event_ids=job.event_ids,
        started_event_ids=job.started_event_ids,
        completed_event_ids=tuple(block.completed),
        events=job.events,
        lead_seconds=job.lead_seconds,
        timings=StageMilliseconds(
            text=timings.text,
            recache=timings.recache,
            denoise=timings.denoise,
            clean=timings.clean,
            decode=timings.decode,
            encode=encode_ms,
        ),
        payload=payload,
    )
