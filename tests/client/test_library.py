"""The client of a server as a whole, over the real routes: begin, lose the connection, go on, watch; also blocking."""

import asyncio
import threading
from pathlib import Path

from client.connection import ClientOptions
from client.library import Client
from client.sync_library import Client as SyncClient
from client.video_values import Video
from tests.client.fake_server import Peer, fake_server, whole_take
from tests.client.serving import serving
from tests.service.api.running import running
from tests.service.api.videos.desk import rest

QUICK = ClientOptions(start_timeout=60.0, message_timeout=60.0, close_timeout=1.0, reconnect_delay=0.01)


async def test_a_take_goes_on_over_a_lost_connection_and_after_its_end() -> None:
    async with running(frame_bytes=32 * 16 * 3) as service:
        client = Client(service.url, options=QUICK)
        async with client.session("a red ball", pacing="none") as take:
            sequences = []
            async for chunk in take.chunks():
                sequences.append(chunk.sequence)
                if len(sequences) == 3:
                    take.session._link._connection.abort()
                if len(sequences) == 8:
                    await take.stop()
            assert sequences == list(range(len(sequences)))
            assert take.session.notices.reconnects == 1
        async with client.go_on(take.id, paced=False) as again:
            async for chunk in again.chunks():
                assert chunk.sequence == len(sequences)
                break
        assert await client.suggested_prompts()


async def test_somebody_else_may_watch() -> None:
    async with running(frame_bytes=32 * 16 * 3) as service:
        client = Client(service.url, options=QUICK)
        async with client.session("a red ball") as take, client.watch(take.id) as seen:
            assert (take.session.role, seen.session.role, seen.id) == ("director", "viewer", take.id)


async def test_without_asyncio() -> None:
    def program(url: str) -> list[int]:
        with (
            SyncClient(url, options=QUICK) as client,
            client.session("a red ball", seconds=3.0, pacing="none") as take,
        ):
            numbers = [frame.number for frame in take]
            assert take.done is not None
            assert take.session.missing == 0
        return numbers

    async def script(peer: Peer) -> None:
        await whole_take(peer)

    async with fake_server(script) as server:
        assert await asyncio.to_thread(program, server.url) == list(range(48))
    assert [thread for thread in threading.enumerate() if thread.name == "longtake-client"] == []


async def test_videos_without_asyncio(tmp_path: Path) -> None:
    def program(url: str) -> tuple[Video, list[Video]]:
        with SyncClient(url) as client:
            made = client.videos.create_and_wait("a red ball", timeout=60.0, progress=False)
            client.videos.download(made.id, out=tmp_path / "film.mp4")
            other = client.videos.cancel(client.videos.remix(made.id, "snow").id)
            listed = client.videos.list()
            client.videos.delete(other.id)
            return client.videos.get(made.id), listed

    async with rest(tmp_path) as service, serving(service.app) as url:
        working = asyncio.create_task(asyncio.to_thread(program, url))
        while not service.jobs.jobs:
            await asyncio.sleep(0.01)
        await service.jobs.finish("video_1", b"film")
        video, listed = await working
    assert (video.status, [found.id for found in listed]) == ("completed", ["video_2", "video_1"])
    assert (tmp_path / "film.mp4").read_bytes() == b"film"
