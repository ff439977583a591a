"""A server in a few lines that speaks the real messages over a real socket, right or wrong as a test asks.

Knows the protocol's models, websockets and Pillow; nothing of engines. Invariant: what it sends is exactly what the
test's script says, so a broken message is broken on purpose.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from service.media import encode_fragment
from service.protocol import SUBPROTOCOL, ClientMessage, encode_message, parse_client_message
from service.protocol.client import (
    MediaFormat,
    SessionControl,
    SessionInteraction,
    SessionPing,
    SessionPlayback,
    SessionStart,
    SessionStop,
)
from service.protocol.server import (
    ChunkMetadata,
    ErrorMessage,
    FramePart,
    InteractionApplied,
    InteractionQueued,
    SessionControlApplied,
    SessionDone,
    SessionLimits,
    SessionPong,
    VideoStart,
)

WIDTH, HEIGHT, FPS, FRAMES = 32, 16, 16.0, 12
SECONDS_PER_CHUNK = FRAMES / FPS

LIMITS = SessionLimits(
    max_message_bytes=65536,
    max_prompt_chars=2000,
    max_prompts=8,
    interaction_queue=16,
    message_rate=20.0,
    max_seconds=1800.0,
    idle_timeout_s=60.0,
    resume_grace_s=60.0,
)


def pictures(sequence: int, hue: int = 0) -> npt.NDArray[np.uint8]:
    """The frames of chunk `sequence`; `hue` counts the prompts."""
    frames = np.zeros((FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    frames[..., hue % 3] = 200
    for index in range(FRAMES):
        frames[index, :, (sequence * FRAMES + index) % WIDTH] = 255
    return frames


def encode(frame: npt.NDArray[np.uint8], kind: MediaFormat) -> bytes:
    if kind == "raw":
        return frame.tobytes()
    file = io.BytesIO()
    Image.fromarray(frame).save(file, kind.upper())
    return file.getvalue()


def make_chunk(sequence: int, kind: MediaFormat = "jpeg", hue: int = 0) -> tuple[ChunkMetadata, bytes]:
    """A correct chunk; a test that wants a wrong one changes it."""
    frames = pictures(sequence, hue)
    if kind == "m4s":
        first = sequence * FRAMES
        lengths, payload = encode_fragment(frames, first=first, fps=int(FPS), quality=85, number=sequence)
    else:
        images = [encode(frame, kind) for frame in frames]
        lengths, payload = [len(image) for image in images], b"".join(images)
    parts, offset = [], 0
    for index, length in enumerate(lengths):
        pts = sequence * SECONDS_PER_CHUNK + index / FPS
        parts.append(FramePart(offset=offset, length=length, pts=pts))
        offset += length
    metadata = ChunkMetadata(
        sequence=sequence,
        take=0,
        block=sequence,
        attempt=0,
        pts=sequence * SECONDS_PER_CHUNK,
        fps=FPS,
        num_frames=FRAMES,
        format=kind,
        byte_length=offset,
        frames=tuple(parts),
        frames_sha256=hashlib.sha256(frames.tobytes()).hexdigest(),
    )
    return metadata, payload


@dataclass(slots=True)
class Peer:
    """The server's end of one connection, with verbs for scripts."""

    socket: ServerConnection
    received: list[ClientMessage] = field(default_factory=list)
    playback: list[SessionPlayback] = field(default_factory=list)
    kind: MediaFormat = "jpeg"

    async def next(self) -> ClientMessage:
        """The next message that is no report of the playhead; those come by themselves, and are kept apart."""
        while True:
            message = await self.socket.recv()
            assert isinstance(message, str), "clients send text only"
            parsed = parse_client_message(message)
            if not isinstance(parsed, SessionPlayback):
                self.received.append(parsed)
                return parsed
            self.playback.append(parsed)

    async def send(self, message: BaseModel) -> None:
        await self.socket.send(encode_message(message))

    async def start(self, **changes: Any) -> SessionStart:
        """Wait for session.start and answer it."""
        asked = await self.next()
        assert isinstance(asked, SessionStart), f"expected session.start, got {asked.type}"
        self.kind = asked.format
        await self.facts(model=asked.model, format=asked.format, seed=asked.seed or 0, **changes)
        return asked

    async def facts(self, **changes: Any) -> None:
        """Say what session this is."""
        facts = {
            "session_id": "s1",
            "model": "demo",
            "width": WIDTH,
            "height": HEIGHT,
            "fps": FPS,
            "format": self.kind,
            "seed": 0,
            "block_frames": 3,
            "frames_per_block": FRAMES,
            "first_block_frames": FRAMES,
            "limits": LIMITS,
        }
        await self.send(VideoStart.model_validate(facts | changes))

    def cut(self) -> None:
        """The connection breaks, without a word."""
        self.socket.transport.abort()

    async def announce(self, sequence: int) -> None:
        """A chunk's metadata, without its bytes."""
        await self.send(make_chunk(sequence, self.kind)[0])

    async def chunk(self, sequence: int, *, payload: bytes | None = None, hue: int = 0, **changes: Any) -> None:
        """Send a chunk, with fields of its metadata, or its bytes, replaced."""
        metadata, right = make_chunk(sequence, self.kind, hue)
        await self.send(metadata.model_copy(update=changes))
        await self.socket.send(right if payload is None else payload)

    async def done(self, chunks: int, reason: str = "stopped") -> None:
        journal = {"version": 1, "events": []}
        facts = {"reason": reason, "chunks": chunks, "frames": chunks * FRAMES, "journal": journal}
        await self.send(SessionDone.model_validate(facts))

    async def control(self, asked: ClientMessage, sequence: int = 0) -> None:
        """Answer a control that was asked for."""
        assert isinstance(asked, SessionControl), f"expected session.control, got {asked.type}"
        facts = {"action": asked.action, "quality": asked.quality, "event_id": asked.event_id}
        await self.send(SessionControlApplied.model_validate(facts | {"sequence": sequence}))

    async def fail(self, code: str, **changes: Any) -> None:
        facts = {"code": code, "message": "as the test asks", "fatal": True}
        await self.send(ErrorMessage.model_validate(facts | changes))


Script = Callable[[Peer], Awaitable[None]]


@dataclass(slots=True)
class FakeServer:
    url: str
    peers: list[Peer] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)


@asynccontextmanager
async def fake_server(script: Script) -> AsyncIterator[FakeServer]:
    """Serve `script`; what goes wrong in it (but for the client going away) is raised at the end."""
    server = FakeServer("")

    async def handle(socket: ServerConnection) -> None:
        peer = Peer(socket)
        server.peers.append(peer)
        try:
            await script(peer)
        except ConnectionClosed:
            pass
        except AssertionError as error:
            server.failures.append(error)

    async with serve(handle, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        server.url = f"ws://127.0.0.1:{port}"
        yield server
    assert server.failures == []


async def whole_take(peer: Peer, *, chunk_seconds: float = 0.0, prompted_by: float | None = None) -> None:
    """A server as it should be: chunks until `max_seconds` or stop, a prompt shows in the first chunk it can.

    `prompted_by`: a second of media that is not passed before a prompt has come, however slow the client is.
    """
    asked = await peer.start()
    waiting: list[SessionInteraction] = []
    stopped, prompted = asyncio.Event(), asyncio.Event()

    async def listen() -> None:
        while not stopped.is_set():
            match await peer.next():
                case SessionInteraction() as interaction:
                    await peer.send(InteractionQueued(event_id=interaction.event_id))
                    waiting.append(interaction)
                    prompted.set()
                case SessionPing(id=name):
                    await peer.send(SessionPong(id=name))
                case SessionStop():
                    stopped.set()

    listener = asyncio.create_task(listen())
    sequence = hue = 0
    active: tuple[str, ...] = ()
    while not stopped.is_set() and sequence * SECONDS_PER_CHUNK < (asked.max_seconds or 1e9):
        await asyncio.sleep(chunk_seconds)
        if prompted_by is not None and sequence * SECONDS_PER_CHUNK >= prompted_by:
            await prompted.wait()
        due = [event for event in waiting if (event.at or 0.0) <= sequence * SECONDS_PER_CHUNK]
        started = tuple(event.event_id for event in due)
        hue += len(due)
        active = started[-1:] or active
        await peer.chunk(sequence, hue=hue, started_event_ids=started, event_ids=started or active)
        for event in due:
            waiting.remove(event)
            facts = {"event_id": event.event_id, "sequence": sequence, "block": sequence}
            await peer.send(InteractionApplied.model_validate(facts | {"queued_ms": 1.0, "latency_ms": 2.0}))
        sequence += 1
    listener.cancel()
    await peer.done(sequence, "stopped" if stopped.is_set() else "completed")
