"""The documents of the interface, served: for programs and for people.

It knows the app's own routes and the documents made of them. Invariant: they are made from what is served, once, when
somebody asks first.
"""

import json
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response

from service.api.credentials import TOKEN_SUBPROTOCOL
from service.api.problem import PROBLEM_MEDIA_TYPE, problem_schema
from service.documents.asyncapi import Document, asyncapi_document
from service.documents.openapi import completed
from service.documents.page import docs_page, policy


def describe(app: FastAPI, address: str) -> None:
    """Gives the app its documents: `app.openapi()`, and the routes that show them; `address` is the WebSocket's."""

    @cache
    def openapi() -> dict[str, Any]:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        return completed(document, problem=problem_schema(), media_type=PROBLEM_MEDIA_TYPE)

    app.openapi = openapi  # type: ignore[method-assign]
    app.include_router(documents_routes(app))
    app.state.asyncapi = asyncapi_document(address=address, version=app.version, token_subprotocol=TOKEN_SUBPROTOCOL)


def asyncapi_of(app: FastAPI) -> Document:
    """The document of the app's WebSocket, after `describe`."""
    document: Document = app.state.asyncapi
    return document


def documents_routes(app: FastAPI) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @cache
    def made(name: str) -> bytes:
        """Making one takes as long as a hundred other answers."""
        if name == "docs":
            return docs_page(app.openapi(), asyncapi_of(app)).encode()
        return json.dumps(app.openapi() if name == "openapi" else asyncapi_of(app), separators=(",", ":")).encode()

    @router.get("/openapi.json")
    async def openapi() -> Response:
        return Response(made("openapi"), media_type="application/json")

    @router.get("/asyncapi.json")
    async def asyncapi() -> Response:
        return Response(made("asyncapi"), media_type="application/json")

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        headers = {"Content-Security-Policy": policy(), "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(made("docs"), headers=headers)

    return router
