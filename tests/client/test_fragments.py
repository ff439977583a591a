"""Format `m4s` in the client: the head comes once, chunks are decoded behind it, and what lacks it is refused."""

import base64

import numpy as np
import pytest

from client.chunk import Chunk
from client.client import connect
from client.errors import ProtocolViolation
from client.receiver import Receiver
from client.requests import Media
from service.media import init_segment
from service.protocol import encode_message
from service.protocol.server import MediaInit
from tests.client.fake_server import FPS, FRAMES, HEIGHT, WIDTH, Peer, fake_server, make_chunk, pictures
from tests.client.test_receiver import video_start

INIT = init_segment(width=WIDTH, height=HEIGHT, fps=int(FPS))


def media_init(init: str | None) -> MediaInit:
    return MediaInit(format="m4s", quality=85, width=WIDTH, height=HEIGHT, sequence=0, codec=INIT.codec, init=init)


def received(sequence: int = 0) -> Chunk:
    receiver = Receiver()
    receiver.text(video_start(format="m4s"))
    receiver.text(encode_message(media_init(base64.b64encode(INIT.data).decode())))
    metadata, payload = make_chunk(sequence, "m4s")
    receiver.text(encode_message(metadata))
    chunk = receiver.binary(payload, 1.0)
    assert chunk is not None
    return chunk


def test_a_chunk_is_decoded_behind_the_head_that_came_once() -> None:
    chunk = received(3)
    assert chunk.numpy().shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert np.abs(chunk.numpy().astype(int) - pictures(3)).mean() < 30
    assert b"".join(chunk.frames) == chunk.payload
    chunk.verify()


def test_frames_that_were_dropped_are_no_pictures() -> None:
    metadata = make_chunk(0, "m4s")[0]
    nothing = metadata.model_copy(update={"num_frames": 0, "frames": (), "byte_length": 0, "dropped_frames": FRAMES})
    assert Chunk(nothing, b"", WIDTH, HEIGHT, 1.0, init=INIT.data).numpy().shape == (0, HEIGHT, WIDTH, 3)


def test_a_fragment_that_does_not_fit_is_refused() -> None:
    metadata, payload = make_chunk(0, "m4s")
    with pytest.raises(ProtocolViolation, match="chunk 0: expected a fragment"):
        Chunk(metadata, payload, WIDTH, HEIGHT, 1.0).numpy()
    with pytest.raises(ProtocolViolation, match="expected \\[12, 16, 64, 3\\]"):
        Chunk(metadata, payload, 2 * WIDTH, HEIGHT, 1.0, init=INIT.data).numpy()


@pytest.mark.parametrize(("init", "said"), [(None, "got none"), ("no base64", "base64")])
def test_a_head_that_is_missing_or_damaged_is_refused(init: str | None, said: str) -> None:
    receiver = Receiver()
    receiver.text(video_start(format="m4s"))
    with pytest.raises(ProtocolViolation, match=said):
        receiver.text(encode_message(media_init(init)))


async def test_a_session_in_fragments_from_start_to_end() -> None:
    async def script(peer: Peer) -> None:
        await peer.start()
        await peer.send(media_init(base64.b64encode(INIT.data).decode()))
        for sequence in range(3):
            await peer.chunk(sequence)
        await peer.done(3)

    async with fake_server(script) as server, connect(server.url) as session:
        await session.start("a red ball", media=Media(format="m4s"))
        shapes = [chunk.numpy().shape async for chunk in session]
        assert session.notices.media is not None
        assert session.notices.media.codec == INIT.codec
    assert shapes == [(FRAMES, HEIGHT, WIDTH, 3)] * 3
