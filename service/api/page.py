"""The page at `/`: the files of client/web, read by name and served under a strict content policy.

It knows nothing of what is in them. Invariant: only files that lay in the folder when the app was made are
served, so no request can name a path; the page can load nothing from, and talk to nobody but, this server.
"""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

WEB_FOLDER = Path(__file__).parents[2] / "client" / "web"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:;"
    " media-src 'self' blob:; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def page_routes(folder: Path = WEB_FOLDER) -> APIRouter:
    """Routes for `/` (index.html) and `/NAME` for every file of the folder."""
    router = APIRouter(include_in_schema=False)
    files = {file.name: file for file in folder.iterdir() if file.is_file()} if folder.is_dir() else {}

    @router.get("/")
    async def index() -> FileResponse:
        return _serve("index.html")

    @router.get("/{name}")
    async def asset(name: str) -> FileResponse:
        return _serve(name)

    def _serve(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404)
        return FileResponse(files[name], headers=_HEADERS)

    return router
