from service.commands.loopback import Loopback
from service.ipc import Chunk, FrameSpan, StageMilliseconds


def test_what_is_sent_comes_out() -> None:
    timings = StageMilliseconds(text=0.0, recache=0.0, denoise=1.0, clean=0.0, decode=0.0, encode=0.0)
    chunk = Chunk(
        session="s",
        sequence=0,
        take=0,
        block=0,
        attempt=0,
        pts=0.0,
        fps=16,
        format="raw",
        frames=(FrameSpan(0, 3, 0.0),),
        frames_sha256="0" * 64,
        timings=timings,
        payload=b"abc",
    )
    with Loopback() as loopback:
        assert [loopback.send(chunk), loopback.send(chunk)] == [chunk, chunk]
        folder = loopback.folder
    assert not folder.exists()
