"""`/v1/batches`: many videos asked for in one file, with one status.

It knows the desk of batches; nothing of lines or jobs. Invariant: results come in the order in which jobs ended, so
that a client that goes on behind the last one it has misses none.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import StreamingResponse

from service.api.videos.answers import BatchList, BatchObject, VideoList, batch_of
from service.api.videos.asking import MAX_PRIORITY
from service.api.videos.batch_desk import BatchDesk
from service.api.videos.bodies import LINES_TYPES
from service.api.videos.desk import KEY_HEADER
from service.api.videos.routes import After, Limit, MayLook, MayMake, problems
from service.jobs.values import Order

BATCHES_PATH = "/v1/batches"
RESULTS_TYPE = "application/jsonl"
MOST_RESULTS = 1000

BatchId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$", description="Its id")]
Priority = Annotated[int, Query(ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Of lines that say none")]
Name = Annotated[str | None, Query(min_length=1, max_length=128, description="For its metadata")]
Seconds = Annotated[
    float, Query(ge=0, le=3600, allow_inf_nan=False, description="Longest wait; the server has its own")
]
Results = Annotated[int, Query(ge=1, le=MOST_RESULTS)]

_UNKNOWN = "There is no such batch"
_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string"}} for kind in LINES_TYPES}
        | {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            }
        },
    },
    "parameters": [
        {
            "name": KEY_HEADER,
            "in": "header",
            "required": False,
            "description": "The same file with the same key is taken once",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
    ],
}


def batch_routes(desk: BatchDesk) -> APIRouter:
    router = APIRouter(prefix=BATCHES_PATH, tags=["batches"])
    _add_group(router, desk)
    _add_results(router, desk)
    return router


def _add_group(router: APIRouter, desk: BatchDesk) -> None:
    jobs = desk.desk.jobs
    refused = problems(
        s400="The body cannot be read",
        s404="A model is not loaded",
        s408="The body did not arrive in time",
        s413="The body or a file in it is too large",
        s415="The body is of another type",
        s507="The disk is full",
    )

    @router.post("", responses=refused, openapi_extra=_FILE)
    async def create_batch(
        request: Request, response: Response, *, principal: MayMake, name: Name = None, priority: Priority = 0
    ) -> BatchObject:
        """Ask for many videos: a JSONL file, each line the body of `POST /v1/videos` with a `custom_id`."""
        batch = await desk.create(principal, request, name=name, priority=priority)
        response.headers["Location"] = f"{BATCHES_PATH}/{batch.id}"
        return batch

    @router.get("", responses=problems())
    async def list_batches(
        principal: MayLook, after: After = None, *, limit: Limit = 20, order: Order = "desc"
    ) -> BatchList:
        """The batches, by age."""
        found = await jobs.list_batches(principal, after=after, limit=limit + 1, order=order)
        data = [batch_of(batch) for batch in found[:limit]]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return BatchList(data=data, first_id=first, last_id=last, has_more=len(found) > limit)

    @router.get("/{batch}", responses=problems(s404=_UNKNOWN))
    async def get_batch(batch: BatchId, principal: MayLook) -> BatchObject:
        """One batch: how many of its jobs stand where."""
        return batch_of(await jobs.get_batch(principal, batch))

    @router.post("/{batch}/cancel", responses=problems(s404=_UNKNOWN))
    async def cancel_batch(batch: BatchId, principal: MayMake) -> BatchObject:
        """Cancel every job of it that is not over."""
        return batch_of(await jobs.cancel_batch(principal, batch))

    @router.get("/{batch}/wait", responses=problems(s404=_UNKNOWN))
    async def wait_for_batch(batch: BatchId, principal: MayLook, *, timeout: Seconds = 30.0) -> BatchObject:
        """The batch once all of it is over, or as it stands when the time is up."""
        return await desk.wait(principal, batch, timeout=timeout)


def _add_results(router: APIRouter, desk: BatchDesk) -> None:
    jobs = desk.desk.jobs
    lines: dict[int | str, dict[str, Any]] = {
        200: {"description": "Videos, one a line", "content": {RESULTS_TYPE: {"schema": {"type": "string"}}}}
    }

    @router.get("/{batch}/results", response_class=Response, responses=problems(s404=_UNKNOWN) | lines)
    async def get_results(
        batch: BatchId, principal: MayLook, *, after: After = None, limit: Results = MOST_RESULTS
    ) -> Response:
        """The videos that are over, in the order in which they ended; `after` is the last one that is known."""
        await jobs.results(principal, batch, after=after, limit=1)
        found = desk.results(principal, batch, after=after, limit=limit)
        return StreamingResponse(found, media_type=RESULTS_TYPE)

    @router.get("/{batch}/videos", responses=problems(s404=_UNKNOWN))
    async def list_batch_videos(
        batch: BatchId, principal: MayLook, *, after: After = None, limit: Limit = 20, order: Order = "asc"
    ) -> VideoList:
        """All its videos, in the order of the file."""
        await jobs.get_batch(principal, batch)
        page = await jobs.list(principal, after=after, limit=limit, order=order, batch=batch)
        data = [desk.desk.said(job) for job in page.jobs]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return VideoList(data=data, first_id=first, last_id=last, has_more=page.has_more)
