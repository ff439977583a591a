"""Videos that are made as jobs: asked for, waited for, fetched, made again under another prompt, deleted.

    video = await client.videos.create_and_wait("a red ball in the snow", seconds=8)
    await client.videos.download(video.id, out=Path("ball.mp4"))

Knows the REST of `/v1/videos`; nothing of WebSockets. Invariants: asking for a video again after a lost answer makes no
second one; a download goes on where it was lost, and comes under its name only when it is whole.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from client.downloads import fetch
from client.errors import ProtocolViolation, VideoFailed, WaitTimeout
from client.event_stream import ServerEvent, events
from client.http import Ask, Server
from client.progress import VideoBar
from client.requests import Prompt, PromptChange
from client.video_values import (
    TERMINAL,
    Variant,
    Video,
    VideoFault,
    VideoOptions,
    prompt_object,
    request_object,
    video_of,
    video_of_object,
)

PATH = "/v1/videos"
_ATTEMPTS = 4
_PAGE = 100
OnVideo = Callable[[Video], None]


@dataclass(frozen=True, slots=True)
class Videos:
    """The videos of one server. All calls raise ConnectFailed, RequestRefused and ProtocolViolation."""

    server: Server
    retry_pause: float = field(default=0.5)

    async def create(
        self,
        prompt: Prompt,
        *,
        seconds: float = 4.0,
        changes: Sequence[PromptChange] = (),
        options: VideoOptions | None = None,
    ) -> Video:
        """Ask for a video of this length; `changes` are further prompts, each with its second (`at`)."""
        options = options or VideoOptions()
        picture = options.picture
        if isinstance(picture, Path):
            picture = await asyncio.to_thread(picture.read_bytes)
        fields = request_object(prompt, seconds=seconds, changes=changes, options=options, picture=picture)
        headers = {"Idempotency-Key": options.idempotency_key or uuid.uuid4().hex}
        return video_of(await self._tried(Ask(PATH, "POST", json.dumps(fields).encode(), headers=headers)))

    async def create_and_wait(
        self,
        prompt: Prompt,
        *,
        seconds: float = 4.0,
        changes: Sequence[PromptChange] = (),
        options: VideoOptions | None = None,
        timeout: float | None = None,
        progress: bool = True,
    ) -> Video:
        """`create`, then `wait`."""
        video = await self.create(prompt, seconds=seconds, changes=changes, options=options)
        return await self.wait(video.id, timeout=timeout, progress=progress)

    async def wait(self, video: str, *, timeout: float | None = None, progress: bool = True) -> Video:
        """Until it is completed; `progress` shows a bar on stderr.

        Raises:
            VideoFailed: it failed or was cancelled. WaitTimeout: not within `timeout` seconds; it is still made.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._show(video, progress=progress)
        except TimeoutError as error:
            raise WaitTimeout(f"expected video {video} within {timeout:g} s") from error
        found = await self.get(video)
        if found.status != "completed":
            fault = found.error or VideoFault(found.status, "there will be no video")
            raise VideoFailed(video, fault.code, message=fault.message)
        return found

    async def _show(self, video: str, *, progress: bool) -> None:
        with VideoBar(video, shown=progress) as bar:
            async for now in self.follow(video):
                bar.show(now)

    async def follow(self, video: str) -> AsyncIterator[Video]:
        """What becomes of it, until it is over. Raises ConnectionLost if the server is gone for good."""
        path = f"{self._path(video)}/events"
        async with aclosing(events(self.server, path, is_last=_is_last, pause=self.retry_pause)) as said:
            async for event in said:
                yield video_of(event.data.encode())

    async def get(self, video: str) -> Video:
        return video_of(await self._tried(Ask(self._path(video))))

    async def list(self, *, most: int = 100, newest_first: bool = True) -> list[Video]:
        """At most so many."""
        found: list[Video] = []
        after: str | None = None
        while len(found) < most:
            query = {"limit": str(min(_PAGE, most - len(found))), "order": "desc" if newest_first else "asc"}
            page, more = _page(
                await self._tried(Ask(f"{PATH}?{urlencode(query | ({'after': after} if after else {}))}"))
            )
            found += page
            if not more or not page:
                break
            after = page[-1].id
        return found

    async def download(self, video: str, *, out: Path, variant: Variant = "video", progress: bool = False) -> Path:
        """Fetch its file: the video, a still of it, or a sheet of stills. Raises OSError where it cannot be written."""
        path = f"{self._path(video)}/content?variant={variant}"
        return await fetch(self.server, path, out=out, progress=progress, pause=self.retry_pause)

    async def remix(self, video: str, prompt: Prompt) -> Video:
        """The same seed, size and length under another prompt."""
        body = json.dumps(prompt_object(prompt) if isinstance(prompt, str) else {"prompts": [_all_of(prompt)]})
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return video_of(await self._tried(Ask(f"{self._path(video)}/remix", "POST", body.encode(), headers=headers)))

    async def cancel(self, video: str) -> Video:
        return video_of(await self._tried(Ask(f"{self._path(video)}/cancel", "POST", b"{}")))

    async def delete(self, video: str) -> None:
        """The job and its files; one that is made is cancelled first."""
        await self._tried(Ask(self._path(video), "DELETE"))

    @staticmethod
    def _path(video: str) -> str:
        return f"{PATH}/{quote(video, safe='')}"

    async def _tried(self, asked: Ask) -> bytes:
        return await self.server.ask_again(asked, attempts=_ATTEMPTS, pause=self.retry_pause)


def _is_last(event: ServerEvent) -> bool:
    return event.name.removeprefix("video.") in TERMINAL


def _all_of(prompt: Prompt) -> dict[str, object]:
    return {"at": 0.0} | prompt_object(prompt)


def _page(text: bytes) -> tuple[list[Video], bool]:
    try:
        read = json.loads(text)
        return [video_of_object(said) for said in read["data"]], bool(read["has_more"])
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolViolation(f"expected a list of videos, got {text[:80]!r}") from error
