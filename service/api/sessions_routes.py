"""Sessions over REST: what is stored of them, and how they go on: fork, resume, delete, recording.

Knows the store and a registry of live sessions; nothing of the worker or of connections. Invariants: a session of
another tenant is answered as one that is not there; every error is a problem with a code, and every status that a route
can answer with is in `/openapi.json`.
"""

import re
import uuid
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from service.access.principal import Principal, Scope
from service.api.files import ServedFile, file_response
from service.api.gate import principal_of
from service.api.problem import problem_answers
from service.api.recordings import Cut, Recordings
from service.errors import ErrorCode, SessionError
from service.latent_files import folder_bytes, session_folder
from service.store.document import SessionDocument
from service.store.failures import ForkPointInvalid, SessionUnknown
from service.store.history import CoursePoint
from service.store.records import SessionRecord
from service.store.store import SessionStore

SESSIONS_PATH = "/v1/sessions"
MOST_LISTED = 100


class SessionRegistry(Protocol):
    """The sessions that live in this process."""

    async def issue_token(self, session: str) -> str:
        """A new token, with which `session.resume` lets a session go on that has ended or waits for its director.

        Raises SessionError if a director is connected.
        """


class Session(BaseModel):
    """What is stored of a session. Times are seconds since 1970, `seconds` is the length of its video now."""

    id: str
    object: str = "session"
    status: str
    model: str
    width: int
    height: int
    fps: float
    seed: int
    fingerprint: str
    created_at: float
    ended_at: float | None
    parent: str | None
    parent_block: int | None
    chunks: int
    """Chunks that were made in all."""


class SessionList(BaseModel):
    object: str = "list"
    data: list[Session]
    has_more: bool
    next_cursor: str | None


class SessionDetails(Session):
    blocks: int
    frames: int
    seconds: float
    latent_bytes: int


class SessionTicket(BaseModel):
    """How a session goes on: `session.resume` with this token, once, and `last_sequence` next_sequence - 1."""

    session_id: str
    resume_token: str
    next_sequence: int
    block: int
    seconds: float


class ForkRequest(BaseModel):
    """Where the new session begins to be its own: at a block, at a chunk that left the server, or at a second.

    The block named, the chunk's, or the one on screen at the second is the first that is made anew. None of them: the
    end. `same_noise` makes the same picture again under the same prompts.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    block: int | None = Field(None, ge=0, le=2**31 - 1)
    sequence: int | None = Field(None, ge=0, le=2**31 - 1)
    seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    same_noise: bool = False

    @model_validator(mode="after")
    def _one_point(self) -> "ForkRequest":
        if sum(point is not None for point in (self.block, self.sequence, self.seconds)) > 1:
            raise ValueError("give one of block, sequence and seconds")
        return self


_ID = r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}"
SessionId = Annotated[str, PathParameter(pattern=f"^{_ID}$", description="Its id")]


def problems(**statuses: str) -> dict[int | str, dict[str, Any]]:
    """What a route can answer besides its success, by status: `s404="..."`."""
    common = {"s400": "The body is not JSON", "s422": "A value cannot be right", "s503": "The store fails"}
    return problem_answers(**(common | statuses))


_UNKNOWN = "There is no such session"
_MP4: dict[int | str, dict[str, Any]] = {
    200: {"description": "The video", "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "Ranges of it"},
    304: {"description": "It is as it was"},
    412: {"description": "It is not as it was"},
}


class SessionRoutes:
    """What the routes share."""

    def __init__(self, store: SessionStore, registry: SessionRegistry, *, recordings: Recordings) -> None:
        self._store = store
        self._registry = registry
        self._recordings = recordings

    async def guard(self, request: Request, principal: Annotated[Principal, Depends(principal_of)]) -> None:
        """What every route of sessions is guarded by: scopes, and that a session is there for who asks.

        Raises SessionError; what is another tenant's is answered as what is not there.
        """
        scope = Scope.SESSIONS_READ if request.method in ("GET", "HEAD") else Scope.SESSIONS
        if not principal.may(scope):
            raise SessionError(ErrorCode.SCOPE_MISSING, f"The key has no scope {scope.value}.")
        session = request.path_params.get("session", "")
        if re.fullmatch(_ID, session) and not principal.sees((await self._store.get(session)).tenant):
            raise SessionUnknown(session)

    async def page(self, tenant: str, *, after: str | None, limit: int) -> SessionList:
        page = await self._store.list(after, limit=limit, tenant=tenant)
        return SessionList(
            data=[Session(**_facts(record)) for record in page.records],
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    async def details(self, session: str) -> SessionDetails:
        record, course = await self._store.get(session), await self._store.course(session)
        return SessionDetails(
            **_facts(record),
            blocks=len(course.rows),
            frames=course.frames,
            seconds=course.frames / record.fps,
            latent_bytes=folder_bytes(session_folder(self._store.folder, session)),
        )

    async def document(self, session: str) -> dict[str, object]:
        record, events = await self._store.get(session), await self._store.events(session)
        return SessionDocument(record, events, await self._store.chunks(session)).to_object()

    async def fork(self, session: str, request: ForkRequest) -> SessionTicket:
        point = await self._point(session, request)
        fork = await self._store.fork(session, uuid.uuid4().hex, point=point, same_noise=request.same_noise)
        return await self._ticket(fork.id)

    async def resume(self, session: str) -> SessionTicket:
        return await self._ticket(session)

    async def video(self, session: str, cut: Cut, *, request: Request) -> Response:
        """Made first and then sent, so that what goes wrong has a status. Made again, it is the same file."""
        record, events = await self._store.get(session), await self._store.events(session)
        # Both only grow, with everything that changes the video.
        state = f"{record.next_sequence}/{len(events)}"
        found, name = await self._recordings.record(session, cut, state=state), f"{session}-{cut}.mp4"
        served = ServedFile(file=found.file, size=found.size, etag=found.etag, media_type="video/mp4", name=name)
        return file_response(request, served)

    async def delete(self, session: str) -> None:
        await self._store.delete(session)
        self._recordings.forget(session)

    async def _point(self, session: str, request: ForkRequest) -> CoursePoint:
        if request.sequence is not None:
            rows = [row for row in await self._store.chunks(session) if row.sequence == request.sequence]
            if not rows:
                raise ForkPointInvalid(f"session {session} has no chunk {request.sequence}")
            return CoursePoint(block=rows[0].block, before_sequence=request.sequence)
        if request.seconds is not None:
            course, record = await self._store.course(session), await self._store.get(session)
            return CoursePoint(block=course.block_at(request.seconds, record.fps))
        return CoursePoint(block=request.block)

    async def _ticket(self, session: str) -> SessionTicket:
        record, course = await self._store.get(session), await self._store.course(session)
        return SessionTicket(
            session_id=session,
            resume_token=await self._registry.issue_token(session),
            next_sequence=course.next_sequence,
            block=len(course.rows),
            seconds=course.frames / record.fps,
        )


def sessions_routes(routes: SessionRoutes) -> APIRouter:
    """`store`, `registry` and settings are in `routes`."""
    router = APIRouter(prefix=SESSIONS_PATH, tags=["sessions"], dependencies=[Depends(routes.guard)])

    @router.get("", responses=problems())
    async def list_sessions(
        principal: Annotated[Principal, Depends(principal_of)],
        *,
        after: Annotated[str | None, Query(max_length=512, description="next_cursor of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 20,
    ) -> SessionList:
        """The sessions that are kept, the newest first."""
        return await routes.page(principal.tenant, after=after, limit=limit)

    @router.get("/{session}", responses=problems(s404=_UNKNOWN))
    async def get_session(session: SessionId) -> SessionDetails:
        """One session."""
        return await routes.details(session)

    @router.get("/{session}/journal", responses=problems(s404=_UNKNOWN))
    async def get_journal(session: SessionId) -> dict[str, JsonValue]:
        """Everything that a replay needs but the weights: record, events and chunks with their hashes."""
        return JSONResponse(await routes.document(session))  # type: ignore[return-value]

    @router.post("/{session}/fork", status_code=201, responses=problems(s404=_UNKNOWN, s410="Latents are gone"))
    async def fork_session(session: SessionId, request: ForkRequest) -> SessionTicket:
        """A new session with the same history up to a point. It begins when it is resumed."""
        return await routes.fork(session, request)

    @router.post("/{session}/resume", responses=problems(s404=_UNKNOWN, s409="Somebody directs it"))
    async def resume_session(session: SessionId) -> SessionTicket:
        """A token with which a session that has ended, or was left, goes on where it was."""
        return await routes.resume(session)

    @router.delete("/{session}", status_code=204, responses=problems(s404=_UNKNOWN, s409="It is live"))
    async def delete_session(session: SessionId) -> None:
        """Delete a session that has ended: record, journal and latents."""
        await routes.delete(session)

    recording = problems(s404=_UNKNOWN, s410="Latents are gone", s416="No such bytes") | _MP4

    @router.get("/{session}/recording", response_class=Response, responses=recording)
    async def get_recording(session: SessionId, request: Request, *, cut: Cut = "final") -> Response:
        """The video as MP4: the final cut, or all that was aired. Ranges and conditions are heeded."""
        return await routes.video(session, cut, request=request)

    @router.head("/{session}/recording", response_class=Response, responses=recording)
    async def head_recording(session: SessionId, request: Request, *, cut: Cut = "final") -> Response:
        """What `GET` would say, without the video, which is made and kept for a while."""
        return await routes.video(session, cut, request=request)

    return router


def _facts(record: SessionRecord) -> dict[str, Any]:
    same = ("id", "model", "width", "height", "fps", "seed", "fingerprint", "created_at", "ended_at", "parent")
    facts = {name: getattr(record, name) for name in (*same, "parent_block")}
    return facts | {"status": record.end_reason or "live", "chunks": record.next_sequence}
