"""`/v1/webhooks`: with which secret they are signed, and what became of them.

It knows webhooks' rows; nothing of how they are sent. Invariant: a tenant sees its own secret and its own webhooks.
"""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.videos.routes import After, Limit, MayLook, MayMake, problems
from service.api.videos.webhooks import Webhooks
from service.store.webhooks import WebhookRow

WEBHOOKS_PATH = "/v1/webhooks"


class WebhookSecret(BaseModel):
    """The secret with which a receiver checks `webhook-signature`, as Standard Webhooks has it."""

    object: Literal["webhook.secret"] = "webhook.secret"
    secret: str


class Webhook(BaseModel):
    """One webhook. Times are seconds since 1970; `next_at` is when it is tried next, None once that is over."""

    id: str
    object: Literal["webhook"] = "webhook"
    video_id: str
    url: str
    type: str
    created_at: int
    attempts: int
    next_at: int | None
    finished_at: int | None
    outcome: Literal["delivered", "given_up"] | None
    trouble: str | None


class WebhookList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Webhook]
    first_id: str | None
    last_id: str | None
    has_more: bool


def webhook_routes(webhooks: Webhooks) -> APIRouter:
    router = APIRouter(prefix=WEBHOOKS_PATH, tags=["webhooks"])

    @router.get("", responses=problems())
    async def list_webhooks(principal: MayLook, after: After = None, *, limit: Limit = 20) -> WebhookList:
        """What was told and what is still to be told, the newest first."""
        rows = await webhooks.book.of_tenant(principal.tenant, after=after, limit=limit + 1)
        data = [_said(row) for row in rows[:limit]]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return WebhookList(data=data, first_id=first, last_id=last, has_more=len(rows) > limit)

    @router.get("/secret", responses=problems())
    async def get_secret(principal: MayMake) -> WebhookSecret:
        """The secret; it is made when it is first asked for or first needed."""
        return WebhookSecret(secret=(await webhooks.secrets(principal.tenant))[0])

    @router.post("/secret/rotate", responses=problems())
    async def rotate_secret(principal: MayMake) -> WebhookSecret:
        """Another secret. For a while the one before signs as well."""
        return WebhookSecret(secret=await webhooks.rotate(principal.tenant))

    return router


def _said(row: WebhookRow) -> Webhook:
    return Webhook(
        id=row.id,
        video_id=row.job,
        url=row.url,
        type=row.kind,
        created_at=int(row.created_at),
        attempts=row.attempts,
        next_at=None if row.next_at is None else int(row.next_at),
        finished_at=None if row.finished_at is None else int(row.finished_at),
        outcome="delivered" if row.outcome == "delivered" else "given_up" if row.outcome == "given_up" else None,
        trouble=row.trouble,
    )
