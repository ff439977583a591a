"""A worker without an engine: speaks the real messages of `service.ipc` and makes frames out of their numbers.

It knows nothing of models. Invariant: like the real one it never has more chunks under way than it has
credits for, and every session it starts ends in exactly one of Ended and Failed.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from service import ipc

FRAMES_PER_BLOCK = 12
FPS = 16
FACTS = ipc.Facts(
    preset="demo",
    title="A fake",
    licence="Example-NC",
    licence_url="https://example.org/licence",
    commercial_use=False,
    licence_accept_required=True,
    width=96,
    height=96,
    fps=FPS,
    block_frames=3,
    frames_per_block=FRAMES_PER_BLOCK,
    first_block_frames=FRAMES_PER_BLOCK,
    fingerprint="fake",
    device="cpu",
    dtype="float32",
    attention="auto",
    parameters=0,
    cache_bytes_per_stream=0,
    max_streams=4096,
    plan=ipc.MemoryPlan(
        budget_bytes=100,
        weights_bytes=1,
        workspace_bytes=1,
        cache_bytes=1,
        text_bytes=1,
        decoder_bytes=0,
        history_bytes=0,
        stream_bytes=2,
    ),
    prompt_characters=2000,
    threads=1,
    memory_bytes=1,
    warmup_ms=1.0,
    block_ms=1.0,
    suggested_prompts=("a lighthouse at dawn",),
    pid=0,
)
TRUNCATED_AT = 200
REFUSED_WORD = "forbidden"
"""A prompt that begins with it is refused, with the code that follows it or `prompt_too_long`."""


@dataclass(slots=True)
class FakeSession:
    start: ipc.Start
    credits: int
    sequence: int = 0
    block: int = 0
    take: int = 0
    sent: int = 0
    active: tuple[str, ...] = ()
    events: list[str] = field(default_factory=list)
    """Of the journal, since the last chunk."""
    paused: bool = False
    playhead: float | None = None
    pending: ipc.Interact | None = None


@dataclass(slots=True)
class FakeWorker:
    """Reacts to commands through `emit`; `make_chunks` makes what credits allow."""

    emit: Callable[[ipc.Event], None]
    frame_bytes: int = 100
    sessions: dict[str, FakeSession] = field(default_factory=dict)
    commands: list[ipc.Command] = field(default_factory=list)
    most_outstanding: int = 0
    stopped: bool = False
    discards_at_rewind: bool = False
    """Says at a rewind that the last chunk was not seen."""
    device_memory_bytes: int | None = None
    head: bytes = b""
    """What a decoder of its sessions has to have first."""
    deaf_to_stop: bool = False
    """Holds its sessions although it was told to end them."""

    def ready(self) -> None:
        self.emit(ipc.Ready(facts=FACTS))

    def heartbeat(self, *, busy: bool = False, idle_seconds: float = 0.0) -> None:
        self.emit(
            ipc.Heartbeat(
                sessions=len(self.sessions),
                idle_seconds=idle_seconds,
                busy=busy,
                blocks=0,
                memory_bytes=1,
                device_memory_bytes=self.device_memory_bytes,
            )
        )

    def handle(self, command: ipc.Command) -> None:
        self.commands.append(command)
        match command:
            case ipc.Start():
                self._start(command)
            case ipc.Interact():
                self._interact(command)
            case ipc.Credit():
                if command.session in self.sessions:
                    self.sessions[command.session].credits += command.chunks
            case ipc.Control():
                self._control(command)
            case ipc.Playback():
                if command.session in self.sessions:
                    self.sessions[command.session].playhead = command.position
            case ipc.Rewind():
                self._rewind(command)
            case ipc.Stop():
                if not self.deaf_to_stop:
                    self.end(command.session, "stopped")
            case ipc.Shutdown():
                for session in list(self.sessions):
                    self.end(session, "drained")
                self.stopped = True
            case _:
                raise AssertionError(f"unexpected {command}")

    def _start(self, start: ipc.Start) -> None:
        if start.prompts[0].text.startswith(REFUSED_WORD):
            self._fail(start.session, _code_in(start.prompts[0].text), "prompt")
            return
        if start.model != "demo":
            self._fail(start.session, "model_unknown", "model")
            return
        if start.width not in (None, 96) or start.height not in (None, 96):
            self._fail(start.session, "size_invalid", "width")
            return
        session = FakeSession(start, start.credits, active=(start.event_id,) if start.event_id else ())
        self.sessions[start.session] = session
        if start.course is None:
            session.events.append(_prompt_event(start.prompts, 0))
        else:
            session.sequence, session.block = start.course.sequence, len(start.course.blocks)
            session.active = start.course.event_ids
            events = json.loads(start.course.journal)["events"]
            session.take = max([event["take"] for event in events if event["type"] == "take"], default=0)
        if start.take is not None:
            self._begin_take(session, start.take)
        self.emit(
            ipc.Started(
                session=start.session,
                seed=7 if start.seed is None else start.seed,
                model="demo",
                width=96,
                height=96,
                fps=FPS,
                block_frames=3,
                frames_per_block=FRAMES_PER_BLOCK,
                first_block_frames=FRAMES_PER_BLOCK,
                codec="avc1.64000a" if self.head else "",
                init=self.head,
            )
        )
        for interact in start.interactions:
            self._interact(interact)
        if len(start.prompts[0].text) > TRUNCATED_AT:
            self.emit(
                ipc.Warned(
                    session=start.session,
                    code="prompt_truncated",
                    message=f"{TRUNCATED_AT} used",
                    field="prompt",
                    kept_characters=TRUNCATED_AT,
                )
            )

    def _fail(self, session: str, code: str, name: str) -> None:
        self.emit(ipc.Failed(session=session, code=code, message=f"no such {name}", field=name))

    def _control(self, control: ipc.Control) -> None:
        session = self.sessions.get(control.session)
        if session is None:
            return
        if control.action != "quality":
            session.paused = control.action == "pause"
        self.emit(
            ipc.ControlApplied(
                session=control.session,
                action=control.action,
                quality=control.quality,
                sequence=session.sequence,
                event_id=control.event_id,
            )
        )

    def _begin_take(self, session: FakeSession, take: int) -> None:
        session.take = take
        session.events.append(json.dumps({"type": "take", "block": session.block, "take": take}))

    def _rewind(self, rewind: ipc.Rewind) -> None:
        session = self.sessions.get(rewind.session)
        if session is None:
            return
        if rewind.block > session.block:
            self.emit(
                ipc.Rejected(
                    session=rewind.session, event_id=rewind.event_id, code="fork_point_invalid", message="no such block"
                )
            )
            return
        session.block = rewind.block
        if self.discards_at_rewind and session.sent:
            self.emit(
                ipc.Discarded(
                    session=rewind.session,
                    from_sequence=session.sequence - 1,
                    next_sequence=session.sequence,
                    block=rewind.block,
                    reason="rewind",
                )
            )
        self._begin_take(session, session.take if rewind.take is None else rewind.take)
        self.emit(
            ipc.Rewound(
                session=rewind.session,
                block=rewind.block,
                take=session.take,
                sequence=session.sequence,
                event_id=rewind.event_id,
            )
        )

    def _interact(self, interact: ipc.Interact) -> None:
        session = self.sessions.get(interact.session)
        if session is None:
            return
        if REFUSED_WORD in interact.prompts[0].text:
            self.emit(
                ipc.Rejected(
                    session=interact.session,
                    event_id=interact.event_id,
                    code=_code_in(interact.prompts[0].text),
                    message="refused",
                    field="prompt",
                )
            )
            return
        if session.pending is not None:
            self.emit(ipc.Superseded(session=interact.session, event_id=session.pending.event_id, by=interact.event_id))
        session.pending = interact
        self.emit(ipc.Queued(session=interact.session, event_id=interact.event_id, ahead_blocks=0))

    def end(self, name: str, reason: ipc.EndReason) -> None:
        session = self.sessions.pop(name, None)
        if session is not None:
            self.emit(
                ipc.Ended(
                    session=name,
                    reason=reason,
                    chunks=session.sent,
                    frames=session.sent * FRAMES_PER_BLOCK,
                    journal=json.dumps({"seed": session.start.seed, "events": []}),
                )
            )

    def make_chunks(self) -> bool:
        """One chunk of every session that has a credit and is not paused. False if there was none."""
        able = [name for name, session in self.sessions.items() if session.credits > 0 and not session.paused]
        for name in able:
            self._make_chunk(name)
        return bool(able)

    def _make_chunk(self, name: str) -> None:
        session = self.sessions[name]
        session.credits -= 1
        self.most_outstanding = max(self.most_outstanding, session.start.credits - session.credits)
        started = self._apply(name, session)
        chunk = self.chunk(
            name, session.sequence, block=session.block, take=session.take, active=session.active, started=started
        )
        self.emit(msgspec.structs.replace(chunk, events=tuple(session.events)))
        session.events.clear()
        session.sequence += 1
        session.sent += 1
        session.block += 1
        seconds = session.start.max_seconds
        if seconds is not None and session.block * FRAMES_PER_BLOCK / FPS >= seconds:
            self.end(name, "completed")

    def _apply(self, name: str, session: FakeSession) -> tuple[str, ...]:
        """The prompt that waits takes effect with the next chunk, if its time has come."""
        pending = session.pending
        if pending is None or max(pending.at or 0.0, pending.not_before) > session.block * FRAMES_PER_BLOCK / FPS:
            return ()
        session.pending, session.active = None, (pending.event_id,)
        session.events.append(_prompt_event(pending.prompts, session.block, event_id=pending.event_id))
        self.emit(
            ipc.Applied(
                session=name,
                event_id=pending.event_id,
                sequence=session.sequence,
                block=session.block,
                queued_ms=1.0,
                latency_ms=2.0,
            )
        )
        return session.active

    def chunk(
        self,
        name: str,
        sequence: int,
        *,
        block: int | None = None,
        take: int = 0,
        active: tuple[str, ...] = (),
        started: tuple[str, ...] = (),
    ) -> ipc.Chunk:
        """A chunk whose every frame is its number in the video, repeated; another number in another take."""
        block = sequence if block is None else block
        first = block * FRAMES_PER_BLOCK
        numbers = [take * 1_000_000 + first + index for index in range(FRAMES_PER_BLOCK)]
        frames = [number.to_bytes(4, "big") * (self.frame_bytes // 4) for number in numbers]
        size = len(frames[0])
        return ipc.Chunk(
            session=name,
            sequence=sequence,
            take=take,
            block=block,
            attempt=0,
            pts=first / FPS,
            fps=FPS,
            format=self.sessions[name].start.format,
            frames=tuple(ipc.FrameSpan(index * size, size, (first + index) / FPS) for index in range(FRAMES_PER_BLOCK)),
            frames_sha256=hashlib.sha256(b"".join(frames)).hexdigest(),
            event_ids=active,
            started_event_ids=started,
            completed_event_ids=started,
            timings=ipc.StageMilliseconds(denoise=1.0),
            payload=b"".join(frames),
        )


def _prompt_event(prompts: tuple[ipc.Prompt, ...], block: int, *, event_id: str = "") -> str:
    said = [{"text": prompt.text, "weight": prompt.weight} for prompt in prompts]
    return json.dumps({"type": "prompt", "block": block, "prompts": said, "event_id": event_id})


def _code_in(prompt: str) -> str:
    return prompt.removeprefix(REFUSED_WORD).strip() or "prompt_too_long"
