"""What a list of takes shows of a session: a still, and its prompts by their seconds.

Knows the store and the files beside the latents; nothing of live sessions. Invariants: the document of prompts has the
shape that `POST /v1/videos` takes, so that a take which was directed by hand can be rendered again; a session that has
no still of its own shows that of the one it was forked from.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse
from pydantic import BaseModel

from service.api.sessions_routes import SESSIONS_PATH, SessionId, problems
from service.errors import ErrorCode, SessionError
from service.latent_files import thumbnail_path
from service.store.records import SessionRecord, StoredCourse
from service.store.store import SessionStore

MOST_PARENTS = 64
"""How far a still is looked for in the sessions that a fork comes from."""
_UNKNOWN = "There is no such session"
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"description": "A still", "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
}


class TakePrompt(BaseModel):
    """A prompt and its share in a blend."""

    text: str
    weight: float


class TakeChange(BaseModel):
    """Prompts that took effect at second `at` of the video, fading in over `transition` blocks."""

    event_id: str
    at: float
    prompts: tuple[TakePrompt, ...]
    mode: str
    sink: str
    transition: int


class TakeTimeline(BaseModel):
    """The video as it stands. `prompts` begins with the one at second 0."""

    object: str = "session.timeline"
    id: str
    model: str
    size: str
    fps: float
    seed: int
    seconds: float
    prompts: tuple[TakeChange, ...]


def takes_routes(store: SessionStore, check: Callable[..., Awaitable[None]]) -> APIRouter:
    """`check` is what every route of sessions is guarded by."""
    router = APIRouter(prefix=SESSIONS_PATH, tags=["sessions"], dependencies=[Depends(check)])

    @router.get("/{session}/timeline", responses=problems(s404=_UNKNOWN))
    async def get_timeline(session: SessionId) -> TakeTimeline:
        """Its prompts by their seconds, as a script from which it can be made again."""
        return timeline_of(await store.get(session), await store.course(session))

    @router.get(
        "/{session}/thumbnail",
        response_class=FileResponse,
        responses=problems(s404="There is no such session, or no still of it") | _JPEG,
    )
    async def get_thumbnail(session: SessionId) -> FileResponse:
        """A still from its beginning, at most 320 pixels wide."""
        record = await store.get(session)
        for _ in range(MOST_PARENTS):
            path = thumbnail_path(store.folder, record.id)
            if path.is_file():
                return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})
            if record.parent is None:
                break
            record = await store.get(record.parent)
        raise SessionError(ErrorCode.NOT_FOUND, f"there is no still of session {session}")

    return router


def timeline_of(record: SessionRecord, course: StoredCourse) -> TakeTimeline:
    """The prompts of the course, at the seconds at which their blocks begin."""
    starts = [0]
    for row in course.rows:
        starts.append(starts[-1] + row.frames)
    changes = []
    for text in course.events:
        event = json.loads(text)
        if event["type"] == "prompt":
            changes.append(_change(event, starts[min(event["block"], len(course.rows))] / record.fps))
    return TakeTimeline(
        id=record.id,
        model=record.model,
        size=f"{record.width}x{record.height}",
        fps=record.fps,
        seed=record.seed,
        seconds=course.frames / record.fps,
        prompts=tuple(changes),
    )


def _change(event: dict[str, Any], at: float) -> TakeChange:
    return TakeChange(
        event_id=event.get("event_id", ""),
        at=at,
        prompts=tuple(TakePrompt(text=one["text"], weight=one.get("weight", 1.0)) for one in event["prompts"]),
        mode=event.get("mode", "recache"),
        sink=event.get("sink", "keep"),
        transition=event.get("transition_chunks", 0),
    )
