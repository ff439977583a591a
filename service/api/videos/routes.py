"""`/v1/videos`: make, look at, list, follow, fetch, remix, cancel and delete videos.

It knows the desk and the queue behind it; nothing of how a video is made. Invariants: every status that a route can
answer with is in `/openapi.json`; what belongs to another tenant is answered as what does not exist.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter

from service.access.principal import Principal, Scope
from service.api.files import ServedFile, file_response
from service.api.gate import needs
from service.api.problem import problem_answers
from service.api.schemas import inlined_schema
from service.api.videos.answers import Video, VideoDeleted, VideoList
from service.api.videos.asking import RemixRequest, VideoRequest
from service.api.videos.desk import KEY_HEADER, VideoDesk
from service.api.videos.events import MEDIA_TYPE, last_event_id
from service.errors import ErrorCode, SessionError
from service.jobs.values import JobEvent, Order, Variant

VIDEOS_PATH = "/v1/videos"
MOST_LISTED = 100

MayMake = Annotated[Principal, Depends(needs(Scope.VIDEOS))]
MayLook = Annotated[Principal, Depends(needs(Scope.VIDEOS_READ))]
VideoId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$", description="Its id")]
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]
After = Annotated[str | None, Query(min_length=1, max_length=128, description="The last id of the page before")]

_UNKNOWN = "There is no such video"


def problems(**statuses: str) -> dict[int | str, dict[str, Any]]:
    """What a route can answer besides its success, by status: `s404="..."`."""
    common = {
        "s401": "A key is needed",
        "s403": "The key is not good for this, or the policy refuses",
        "s422": "A value cannot be right",
        "s429": "Too much is asked for; see Retry-After",
        "s503": "Not now; see Retry-After",
    }
    return problem_answers(**(common | statuses))


_BODY_PROBLEMS = problems(
    s400="The body cannot be read",
    s404="The model is not loaded",
    s408="The body did not arrive in time",
    s413="The body or a file in it is too large",
    s415="The body is of another type",
    s507="The disk is full",
)


def body_of(model: type[VideoRequest] | type[RemixRequest], *, file: bool) -> dict[str, Any]:
    """How a body that a route reads by hand is described, with the header that makes a request one of a kind."""
    schema = inlined_schema(model)
    form = {**schema, "properties": dict(schema["properties"])}
    if file:
        form["properties"]["input_reference"] = {"type": "string", "format": "binary"}
    key = {
        "name": KEY_HEADER,
        "in": "header",
        "required": False,
        "description": "The same request with the same key is made once",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }
    content = {"application/json": {"schema": schema}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}, "parameters": [key]}


def video_routes(desk: VideoDesk) -> APIRouter:
    router = APIRouter(prefix=VIDEOS_PATH, tags=["videos"])
    _add_making(router, desk)
    _add_looking(router, desk)
    _add_content(router, desk)
    return router


def _add_making(router: APIRouter, desk: VideoDesk) -> None:
    @router.post("", responses=_BODY_PROBLEMS, openapi_extra=body_of(VideoRequest, file=True))
    async def create_video(request: Request, response: Response, *, principal: MayMake) -> Video:
        """Make a video. The answer comes at once; the video when it is its turn."""
        video = await desk.create(principal, request)
        response.headers["Location"] = f"{VIDEOS_PATH}/{video.id}"
        return video

    @router.post("/{video}/remix", responses=_BODY_PROBLEMS, openapi_extra=body_of(RemixRequest, file=False))
    async def remix_video(video: VideoId, request: Request, *, response: Response, principal: MayMake) -> Video:
        """Make a video again under other prompts: same seed, size, length and beginning."""
        made = await desk.remix(principal, video, request=request)
        response.headers["Location"] = f"{VIDEOS_PATH}/{made.id}"
        return made

    @router.post("/{video}/cancel", responses=problems(s404=_UNKNOWN))
    async def cancel_video(video: VideoId, principal: MayMake) -> Video:
        """Make it no further. One that is over stays as it is."""
        return desk.said(await desk.jobs.cancel(principal, video))

    @router.delete("/{video}", responses=problems(s404=_UNKNOWN))
    async def delete_video(video: VideoId, principal: MayMake) -> VideoDeleted:
        """Delete it with its files; what is still being made is cancelled first."""
        return VideoDeleted(id=(await desk.jobs.delete(principal, video)).id)


def _add_looking(router: APIRouter, desk: VideoDesk) -> None:
    @router.get("", responses=problems())
    async def list_videos(
        principal: MayLook, after: After = None, *, limit: Limit = 20, order: Order = "desc"
    ) -> VideoList:
        """The videos, by age."""
        page = await desk.jobs.list(principal, after=after, limit=limit, order=order)
        data = [desk.said(job) for job in page.jobs]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return VideoList(data=data, first_id=first, last_id=last, has_more=page.has_more)

    @router.get("/{video}", responses=problems(s404=_UNKNOWN))
    async def get_video(video: VideoId, principal: MayLook) -> Video:
        """One video, and what has become of it."""
        return desk.said(await desk.jobs.get(principal, video))

    events: dict[int | str, dict[str, Any]] = {
        200: {"description": "video.STATUS events", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
        204: {"description": "There is nothing more to say"},
    }

    @router.get("/{video}/events", response_class=Response, responses=problems(s404=_UNKNOWN) | events)
    async def follow_video(
        video: VideoId,
        request: Request,
        *,
        principal: MayLook,
        after: Annotated[int | None, Query(ge=0, le=10**18, description="As Last-Event-ID")] = None,
    ) -> Response:
        """What becomes of it, as server-sent events; ends when it is over. `Last-Event-ID` is where to go on."""
        known = last_event_id(request, after)
        job = await desk.jobs.get(principal, video)
        if job.status.terminal and job.version <= known:
            return Response(status_code=204)

        def say(event: JobEvent) -> Video:
            return desk.said(event.job)

        return desk.streams.response(desk.jobs.watch(principal, video, after=known), say)


def _add_content(router: APIRouter, desk: VideoDesk) -> None:
    async def content(video: str, request: Request, *, principal: Principal, variant: Variant) -> Response:
        media = await desk.jobs.media(principal, video, variant=variant)
        try:
            file = media.path.open("rb")
        except FileNotFoundError:
            raise SessionError(ErrorCode.VIDEO_EXPIRED, f"the files of video {video} are deleted") from None
        name = f"{video}{'' if variant == 'video' else f'-{variant}'}{media.path.suffix}"
        served = ServedFile(file=file, size=media.bytes, etag=media.etag, media_type=media.media_type, name=name)
        return file_response(request, served)

    kinds = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("video/mp4", "image/jpeg")}
    said: dict[int | str, dict[str, Any]] = {
        200: {"description": "The file", "content": kinds},
        206: {"description": "Ranges of it"},
        304: {"description": "It is as it was"},
        412: {"description": "It is not as it was"},
    }
    wrong = problems(
        s404=_UNKNOWN, s409="It is not ready, or will not come", s410="Its files are gone", s416="No such bytes"
    )

    @router.get("/{video}/content", response_class=Response, responses=wrong | said)
    async def get_content(
        video: VideoId, request: Request, *, principal: MayLook, variant: Variant = "video"
    ) -> Response:
        """The video as MP4, a picture of it, or a sheet of pictures. Ranges and conditions are heeded."""
        return await content(video, request, principal=principal, variant=variant)

    @router.head("/{video}/content", response_class=Response, responses=wrong | said)
    async def head_content(
        video: VideoId, request: Request, *, principal: MayLook, variant: Variant = "video"
    ) -> Response:
        """What `GET` would say, without the file."""
        return await content(video, request, principal=principal, variant=variant)
