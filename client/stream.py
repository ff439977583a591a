"""What `longtake stream` does: direct one take on a server, record it, and report how it went.

Knows the client, the report and the video writer; nothing of command lines or of the server's insides. Invariants:
chunks go to disk as they come, so memory does not grow with the length of the take but for one small record a chunk;
what was recorded can be played whatever ends the take.
"""

import asyncio
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

from tqdm import tqdm

from client.chunk import Chunk
from client.client import Media, Session, connect
from client.connection import ClientOptions
from client.errors import ClientError, ClientStateError
from client.playhead import Playhead
from client.report import ChunkArrival, StreamReport, SwitchReport, build_report
from client.switch import Switch
from client.video import VideoWriter
from service.protocol.client import Pacing, PromptMode, SinkPolicy
from service.protocol.server import VideoStart


@dataclass(frozen=True, slots=True)
class ScheduledPrompt:
    """A prompt and the media second at which it is due."""

    at: float
    prompt: str


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """One take.

    Args:
        seconds: length of the video; its last chunk is kept whole.
        prompts: prompts for later, each at its media second.
        schedule: who keeps the time. `client`: a prompt is sent when the media reaches its second (the second on
            screen when paced, else the last one received), as a person would. `server`: all are sent at once and each
            takes effect at the first block that begins at its second or later.
        output: an MP4 file. journal: the session's journal as JSON. hashes: one SHA-256 a chunk, one a line.
    """

    prompt: str
    seconds: float
    url: str = "ws://127.0.0.1:8000"
    prompts: tuple[ScheduledPrompt, ...] = ()
    schedule: Literal["client", "server"] = "client"
    mode: PromptMode = "recache"
    sink: SinkPolicy = "keep"
    transition_chunks: int = 0
    model: str = "demo"
    seed: int | None = None
    media: Media = field(default_factory=Media)
    pacing: Pacing = "realtime"
    output: Path | None = None
    journal: Path | None = None
    hashes: Path | None = None
    progress: bool = True
    client: ClientOptions = field(default_factory=ClientOptions)


def run(options: StreamOptions) -> StreamReport:
    """Direct and record a take. Ctrl-C ends it early and properly, a second one at once.

    Raises:
        ClientError: the take could not be started or did not end as asked; what came is on disk.
        ValueError, OSError: an option, or a file that cannot be written.
    """
    return asyncio.run(run_take(options))


async def run_take(options: StreamOptions) -> StreamReport:
    """`run` for a program that has an event loop already."""
    _check_folders(options)
    async with connect(options.url, options.client) as session:
        info = await session.start(
            options.prompt,
            model=options.model,
            seed=options.seed,
            media=options.media,
            pacing=options.pacing,
            max_seconds=options.seconds,
        )
        with _Recorder(options, info) as recorder, _stopping_on_interrupt(session):
            take = _Take(options, session, recorder)
            await take.play()
        if session.done is not None and options.journal is not None:
            options.journal.write_text(json.dumps(session.done.journal, indent=1) + "\n", encoding="utf-8")
        return take.report()


class _Take:
    """The running take: chunks are taken in one task, prompts are sent in another."""

    def __init__(self, options: StreamOptions, session: Session, recorder: "_Recorder") -> None:
        self._options = options
        self._session = session
        self._recorder = recorder
        self._playhead = Playhead(session.info.fps)
        self._arrivals: list[ChunkArrival] = []
        self._schedule = sorted(options.prompts, key=lambda scheduled: scheduled.at)
        self._switches: list[Switch] = []
        self._moved = asyncio.Event()

    async def play(self) -> None:
        director = asyncio.create_task(self._direct(), name="longtake-director")
        try:
            async for chunk in self._session:
                self._arrivals.append(ChunkArrival(chunk.received, chunk.pts, chunk.num_frames))
                self._playhead.arrive(chunk.received, pts=chunk.pts, frames=chunk.num_frames)
                self._moved.set()
                # In a thread, so that what comes meanwhile is read, and stamped, when it comes.
                await asyncio.to_thread(self._recorder.store, chunk)
                self._recorder.show(chunk, self._playhead.underruns, self._switches)
        finally:
            director.cancel()
            with suppress(asyncio.CancelledError, ClientError):
                await director
            self._tell_of_losses()

    def report(self) -> StreamReport:
        switches = [switch.report() for switch in self._switches]
        switches += [SwitchReport(scheduled.prompt) for scheduled in self._schedule[len(self._switches) :]]
        assert self._session.started_at is not None, "a take that played was started"
        return build_report(
            self._arrivals,
            fps=self._session.info.fps,
            started=self._session.started_at,
            missing=self._session.missing,
            duplicated=self._session.duplicated,
            switches=switches,
        )

    async def _direct(self) -> None:
        by_server = self._options.schedule == "server"
        with suppress(ClientStateError):  # the take ended before the prompt's second came
            for scheduled in self._schedule:
                if not by_server:
                    await self._reached(scheduled.at)
                switch = await self._session.prompt(
                    scheduled.prompt,
                    mode=self._options.mode,
                    sink=self._options.sink,
                    transition_chunks=self._options.transition_chunks,
                    at=scheduled.at if by_server else None,
                )
                self._switches.append(switch)

    async def _reached(self, second: float) -> None:
        """Wait until the media has come to `second`: on screen if it is paced, else into our hands."""
        while True:
            wait = self._playhead.seconds_until(second, time.monotonic())
            if wait == 0 or (wait is not None and self._options.pacing == "none"):
                return
            self._moved.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._moved.wait()

    def _tell_of_losses(self) -> None:
        for notice in self._session.notices:
            self._recorder.tell(f"the server says: {notice.code}: {notice.message}")
        for switch in self._switches:
            if switch.error is not None:
                self._recorder.tell(f"prompt {switch.prompt!r} did not take effect: {switch.error}")
        for scheduled in self._schedule[len(self._switches) :]:
            self._recorder.tell(f"prompt {scheduled.prompt!r} was not sent: the take ended before {scheduled.at:g} s")


class _Recorder:
    """The files that a take is written to, and its progress bar; a context manager."""

    def __init__(self, options: StreamOptions, info: VideoStart) -> None:
        self._options = options
        self._info = info
        self._video: VideoWriter | None = None
        self._hashes: TextIO | None = None
        self._bar: tqdm[None] | None = None
        self._files = ExitStack()

    def __enter__(self) -> "_Recorder":
        with ExitStack() as files:
            if self._options.output is not None:
                size = self._info.width, self._info.height
                writer = VideoWriter(self._options.output, width=size[0], height=size[1], fps=self._info.fps)
                self._video = files.enter_context(writer)
            if self._options.hashes is not None:
                self._hashes = files.enter_context(self._options.hashes.open("w", encoding="ascii"))
            self._bar = files.enter_context(self._open_bar())
            self._files = files.pop_all()
        return self

    def __exit__(self, *failure: object) -> None:
        self._files.close()

    def store(self, chunk: Chunk) -> None:
        if self._video is not None:
            self._video.append(chunk.numpy(), pts=chunk.pts)
        if self._hashes is not None:
            self._hashes.write(chunk.frames_sha256 + "\n")
            self._hashes.flush()

    def show(self, chunk: Chunk, underruns: int, switches: list[Switch]) -> None:
        if self._bar is None:
            return
        received = [switch for switch in switches if switch.received_at is not None]
        latency = f", switch {received[-1].report().received_ms:.0f} ms" if received else ""
        self._bar.set_postfix_str(f"underruns {underruns}{latency}", refresh=False)
        self._bar.update(chunk.num_frames)

    def tell(self, sentence: str) -> None:
        """A line for the person at the terminal, past the progress bar."""
        tqdm.write(sentence, file=sys.stderr)

    def _open_bar(self) -> "tqdm[None]":
        # disable=None: only where stderr is a terminal
        return tqdm(
            total=round(self._options.seconds * self._info.fps),
            unit="frame",
            file=sys.stderr,
            disable=None if self._options.progress else True,
            dynamic_ncols=True,
        )


def _check_folders(options: StreamOptions) -> None:
    """Say before the take, not after it, that a file cannot be written."""
    for path in (options.output, options.journal, options.hashes):
        if path is not None and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"expected a folder for {path}, {path.absolute().parent} does not exist")


@contextmanager
def _stopping_on_interrupt(session: Session) -> Iterator[None]:
    """Ctrl-C asks the server to end the take; the second one interrupts as usual."""
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stopping.append(loop.create_task(session.stop()))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        for task in stopping:
            task.cancel()
