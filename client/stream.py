"""What `longtake stream` does: direct one take on a server, record it, and report how it went.

Knows the client, the report and the video writer; nothing of command lines or of the server's insides. Invariants:
chunks go to disk as they come, so memory does not grow with the length of the take but for one small record a chunk;
what was recorded can be played whatever ends the take.
"""

import asyncio
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from client.chunk import Chunk
from client.client import Session, connect
from client.connection import ClientOptions
from client.errors import ClientError, ClientStateError, SessionDrained, TakeEndedEarly
from client.http import Server
from client.notices import ChunksDiscarded, Disconnected, Notice
from client.playhead import Playhead
from client.recording import Recorder, TakeFiles, tell
from client.report import ChunkArrival, Losses, StreamReport, SwitchReport, build_report
from client.requests import Delivery, Media, Model, Prompt, PromptChange, interaction_message, prompt_text
from client.sessions import ask_for_ticket
from client.switch import Switch
from client.terminal import TerminalScreen
from client.typing_in import HELP, Typing
from service.media import provenance
from service.protocol.client import Pacing, SessionInteraction
from service.protocol.server import (
    ErrorMessage,
    SessionDraining,
    SessionQueued,
    SessionResumed,
    SessionWarning,
    VideoStart,
    WorkerRestarting,
)

Schedule = Literal["client", "server"]
_AHEAD = 4.0  # seconds of media before its block at which a prompt of a journal is sent


@dataclass(frozen=True, slots=True)
class JournalPrompt:
    """A prompt that takes effect before `block`, which `cuts` cuts precede."""

    change: PromptChange
    block: int
    cuts: int
    event_id: str


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """One take.

    Args:
        seconds: length of the video; its last chunk is kept whole.
        prompts: prompts for later, each with its media second (`at`; None is as soon as the video starts).
        schedule: who keeps the time. `client`: a prompt is sent when the media reaches its second (the second on
            screen when paced, else the last one received), as a person would. `server`: all are sent at once and each
            takes effect at the first block that begins at its second or later.
        replayed: prompts of a journal, each with its block.
        resume: a session that has ended, or was left, which goes on with `seconds` more instead of a new one.
    """

    prompt: Prompt | None
    seconds: float
    url: str = "ws://127.0.0.1:8000"
    prompts: tuple[PromptChange, ...] = ()
    schedule: Schedule = "client"
    model: str | Model = "demo"
    seed: int | None = None
    media: Media = field(default_factory=Media)
    pacing: Pacing = "realtime"
    delivery: Delivery = field(default_factory=Delivery)
    replayed: tuple[JournalPrompt, ...] = ()
    resume: str | None = None
    files: TakeFiles = field(default_factory=TakeFiles)
    show: bool = False
    """Show the picture in the terminal, and take what is typed there."""
    client: ClientOptions = field(default_factory=ClientOptions)


def run(options: StreamOptions) -> StreamReport:
    """Direct and record a take. Ctrl-C ends it early and properly, a second one at once.

    Raises:
        TakeEndedEarly: it did not end as asked; what came is on disk, and its report is in the error.
        ClientError: it could not be started.
        service.errors.ProtocolError: an option that no server would accept. OSError: a file that cannot be written.
    """
    return asyncio.run(run_take(options))


async def run_take(options: StreamOptions) -> StreamReport:
    """`run` for a program that has an event loop already."""
    options.files.check()
    schedule = _messages(options)
    async with connect(options.url, options.client, on_notice=_tell_of_waiting) as session:
        info = await _begin(session, options)
        schedule += [_replayed_cue(prompt, info) for prompt in options.replayed]
        frames = expected_frames(info, options.seconds)
        files = replace(options.files, comment=provenance(info.model, f"session {info.session_id}"))
        recorder = Recorder(
            files, width=info.width, height=info.height, fps=info.fps, frames=None if options.show else frames
        )
        with recorder, _stopping_on_interrupt(session):
            first = "" if options.prompt is None else prompt_text(options.prompt)
            take = _Take(session, schedule, recorder=recorder, paced=options.pacing == "realtime", title=first)
            take.stop_after = None if options.resume is None else options.seconds
            early = await _played(take, show=options.show)
        if session.done is not None and options.files.journal is not None:
            options.files.journal.write_text(json.dumps(session.done.journal, indent=1) + "\n", encoding="utf-8")
        if early is not None:
            raise TakeEndedEarly(take.report(), early, expected_frames=frames) from early
        return take.report()


async def _played(take: "_Take", *, show: bool) -> ClientError | None:
    if not show:
        return await take.play()
    with TerminalScreen(sys.stderr) as screen:
        return await take.play(screen)


async def _begin(session: Session, options: StreamOptions) -> VideoStart:
    if options.resume is not None:
        ticket = await ask_for_ticket(Server(options.url, options.client.api_key), options.resume)
        paced = options.pacing == "realtime"
        return await session.attach(ticket, paced=paced, slow_consumer=options.delivery.slow_consumer)
    assert options.prompt is not None, "a take that begins has a prompt"
    return await session.start(
        options.prompt,
        model=options.model,
        seed=options.seed,
        media=options.media,
        pacing=options.pacing,
        max_seconds=options.seconds,
        delivery=options.delivery,
    )


def _tell_of_waiting(notice: Notice) -> None:
    """Before the take begins there is no progress bar to speak past."""
    if isinstance(notice, SessionQueued):
        tell(f"waiting for a place: number {notice.position} of {notice.waiting}")
    elif isinstance(notice, WorkerRestarting):
        tell("the server's engine was lost and is started again; the take goes on")
    elif isinstance(notice, Disconnected):
        tell("the connection was lost; trying to get it back")
    elif isinstance(notice, SessionResumed) and notice.missing is not None:
        first, last = notice.missing.from_sequence, notice.missing.to_sequence
        tell(f"the take goes on, but chunks {first} to {last} could not be kept for it")
    elif isinstance(notice, SessionResumed):
        tell(f"the take goes on with chunk {notice.next_sequence}")
    elif isinstance(notice, SessionDraining):
        tell(f"the server is shutting down, and ends the take in {notice.deadline_seconds:g} s at the latest")


def expected_frames(info: VideoStart, seconds: float) -> int:
    """Frames of a take that is never cut: whole chunks, as many as `seconds` need."""
    rest = max(0, math.ceil(seconds * info.fps) - info.first_block_frames)
    return info.first_block_frames + math.ceil(rest / info.frames_per_block) * info.frames_per_block


@dataclass(frozen=True, slots=True)
class _Cue:
    """A message, and the media second at which it is sent; None is at once."""

    message: SessionInteraction
    wait_until: float | None

    @property
    def name(self) -> str:
        return prompt_text(self.message.prompt or self.message.weighted_prompts)


def _messages(options: StreamOptions) -> list[_Cue]:
    """What will be sent, made before the take begins so that what is wrong with it is said then."""
    cues = []
    for number, change in enumerate(sorted(options.prompts, key=lambda change: change.at or 0.0), start=1):
        by_server = options.schedule == "server"
        message = interaction_message(change if by_server else replace(change, at=None), f"prompt-{number}")
        cues.append(_Cue(message, None if by_server else change.at))
    return cues


def _replayed_cue(prompt: JournalPrompt, info: VideoStart) -> "_Cue":
    """Sent some seconds before its block, so that no more wait at the server than it lets."""
    frames = prompt.block * info.frames_per_block - (1 + prompt.cuts) * (
        info.frames_per_block - info.first_block_frames
    )
    begins = max(0.0, (frames - 0.5) / info.fps)
    change = replace(prompt.change, at=begins)
    message = interaction_message(change, prompt.event_id)
    return _Cue(message, begins - _AHEAD if begins > _AHEAD else None)


class _Take:
    """The running take: chunks are taken in one task, prompts are sent in another."""

    def __init__(
        self, session: Session, schedule: list["_Cue"], *, recorder: Recorder, paced: bool, title: str
    ) -> None:
        self._session = session
        self._schedule = schedule
        self._recorder = recorder
        self._paced = paced
        self._playhead = Playhead(session.info.fps)
        self._arrivals: list[ChunkArrival] = []
        self._switches: list[Switch] = []
        self._moved = asyncio.Event()
        self._held: list[Chunk] = []  # taken, and not yet on screen; as long as the server's lead
        self._discards: list[ChunksDiscarded] = []
        self._stored_end = 0.0
        self._first_title = self._title = title
        """The prompt that the take began with, and that of the chunk stored last."""
        self._frames = 0
        self._screen: TerminalScreen | None = None
        self._typed = ""
        self._by_hand: list[Switch] = []
        self.stop_after: float | None = None
        """Seconds of video after which the take stops the session itself."""

    async def play(self, screen: TerminalScreen | None = None) -> ClientError | None:
        """Until the end; returns why it came early, None if it did not. `screen` shows it, and is typed into."""
        self._screen = screen
        shown = [asyncio.create_task(work) for work in (self._paint(), self._typing.run())] if screen else []
        director = asyncio.create_task(self._direct(), name="longtake-director")
        try:
            async for chunk in self._session:
                await self._take(chunk)
        except ClientError as error:
            return error
        finally:
            director.cancel()
            for task in shown:
                task.cancel()
            await asyncio.gather(*shown, return_exceptions=True)
            if screen is not None:
                screen.paint(None)
            with suppress(asyncio.CancelledError, ClientError):
                await director
            await self._store_those_shown(everything=True)
            self._tell_of_losses()
        done = self._session.done
        return None if done is None or done.reason != "drained" else SessionDrained("the server is shutting down")

    async def _take(self, chunk: Chunk) -> None:
        self._drop_what_was_taken_back()
        self._arrivals.append(ChunkArrival(chunk.received, chunk.pts, chunk.num_frames, chunk.dropped_frames))
        frames = chunk.num_frames + chunk.dropped_frames
        self._playhead.arrive(chunk.received, pts=chunk.pts, frames=frames)
        self._moved.set()
        self._held.append(chunk)
        if self._screen is not None:
            self._screen.add(chunk)
        await self._store_those_shown(everything=not self._paced)
        self._recorder.advance(frames, self._note())
        self._frames += frames
        if self.stop_after is not None and self._frames >= self.stop_after * self._session.info.fps:
            await self._session.stop()

    def _drop_what_was_taken_back(self) -> None:
        """The recording is what was aired: what was on screen stays in it, what was not leaves no trace."""
        now = time.monotonic()
        for notice in self._session.notices.kept:
            if not isinstance(notice, ChunksDiscarded) or notice in self._discards:
                continue
            self._discards.append(notice)
            unseen = [chunk for chunk in self._held if self._playhead.seconds_until(chunk.pts, now) != 0]
            gone = [chunk for chunk in unseen if chunk.sequence in notice.taken]
            self._held = [chunk for chunk in self._held if chunk not in gone]
            if gone:
                self._playhead.take_back(gone[0].pts)
                if self._screen is not None:
                    self._screen.take_back(gone[0].pts)

    async def _paint(self) -> None:
        """Show what is due, at the rate of the video."""
        assert self._screen is not None, "there is something to paint on"
        while True:
            position = self._playhead.position(time.monotonic()) if self._paced else None
            self._screen.paint(position, note=self._typed or HELP)
            await asyncio.sleep(1 / self._session.info.fps)

    @property
    def _typing(self) -> Typing:
        def said(sentence: str) -> None:
            self._typed = sentence
            if self._screen is not None:
                self._screen.typed()

        return Typing(self._session, sys.stdin, said=said, on_switch=self._by_hand.append)

    async def _store_those_shown(self, *, everything: bool) -> None:
        now = time.monotonic()
        while self._held and (everything or self._playhead.seconds_until(self._held[0].pts, now) == 0):
            # In a thread, so that what comes meanwhile is read, and stamped, when it comes.
            await asyncio.to_thread(self._store, self._held.pop(0))

    def report(self) -> StreamReport:
        switches = [switch.report() for switch in (*self._switches, *self._by_hand)]
        switches += [SwitchReport(cue.name) for cue in self._unsent]
        assert self._session.started_at is not None, "a take that played was started"
        return build_report(
            self._arrivals,
            fps=self._session.info.fps,
            started=self._session.started_at,
            losses=Losses(
                missing=self._session.missing,
                duplicated=self._session.duplicated,
                discarded=sum(len(notice.dropped) + len(notice.taken) for notice in self._discards),
                reconnects=self._session.notices.reconnects,
                worker_restarts=self._session.notices.worker_restarts,
            ),
            switches=switches,
        )

    async def _direct(self) -> None:
        with suppress(ClientStateError):  # the take ended before the prompt's second came
            for cue in self._schedule:
                if cue.wait_until is not None:
                    await self._reached(cue.wait_until)
                self._switches.append(await self._session.interact(cue.message))

    async def _reached(self, second: float) -> None:
        """Wait until the media has come to `second`: on screen if it is paced, else into our hands."""
        while True:
            wait = self._playhead.seconds_until(second, time.monotonic())
            if wait == 0 or (wait is not None and not self._paced):
                return
            self._moved.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._moved.wait()

    @property
    def _unsent(self) -> list["_Cue"]:
        return self._schedule[len(self._switches) :]

    def _store(self, chunk: Chunk) -> None:
        pixels = chunk.numpy() if self._recorder.wants_pixels else None
        pts = max(chunk.pts, self._stored_end)  # later than its own where what it replaces was on screen already
        self._stored_end = pts + chunk.end_pts - chunk.pts
        self._title = self._title_of(chunk)
        self._recorder.chapter(self._title, pts=pts)
        self._recorder.store(pixels, sha256=chunk.frames_sha256, pts=pts)

    def _title_of(self, chunk: Chunk) -> str:
        """The prompt in force; what somebody else asked for has no words here, and leaves the chapter as it is."""
        if not chunk.metadata.event_ids:
            return self._first_title
        prompts = {switch.event_id: switch.prompt for switch in (*self._switches, *self._by_hand)}
        return prompts.get(chunk.metadata.event_ids[-1], self._title)

    def _note(self) -> str:
        received = [switch.report().received_ms for switch in self._switches if switch.received_at is not None]
        latency = f", last switch {received[-1]:.0f} ms" if received else ""
        return f"underruns {self._playhead.underruns}{latency}"

    def _tell_of_losses(self) -> None:
        for notice in self._session.notices.kept:
            if isinstance(notice, ErrorMessage | SessionWarning):
                tell(f"the server says: {notice.code}: {notice.message}")
        for switch in self._switches:
            if switch.error is not None:
                tell(f"prompt {switch.prompt!r} did not take effect: {switch.error}")
        for cue in self._unsent:
            tell(f"prompt {cue.name!r} was not sent: the take ended before its second")


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
