"""The page at `/`: the files of client/web, served by name, compressed, under a strict content policy.

It knows nothing of what is in them. Invariants: only files that lay in the folder when the app was made are served, so
no request can name a path; the page can load nothing from, and talk to nobody but, this server; a browser that has a
file already is told so.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response
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
    "Vary": "Accept-Encoding",
}
# Not left to the machine's own table, in which scripts are sometimes plain text.
_KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    packed: bytes
    kind: str
    tag: str


def page_routes(folder: Path = WEB_FOLDER) -> APIRouter:
    """Routes for `/` (index.html) and `/NAME` for every file of the folder."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: _read(path) for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}

    @router.get("/")
    async def index(request: Request) -> Response:
        return _serve("index.html", request)

    @router.get("/{name}")
    async def asset(name: str, request: Request) -> Response:
        return _serve(name, request)

    def _serve(name: str, request: Request) -> Response:
        file = files.get(name)
        if file is None:
            raise HTTPException(404)
        headers = _HEADERS | {"ETag": file.tag}
        if file.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.packed, media_type=file.kind, headers=headers | {"Content-Encoding": "gzip"})
        return Response(file.content, media_type=file.kind, headers=headers)

    return router


def _read(path: Path) -> _File:
    content = path.read_bytes()
    kind = _KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'  # weak: the same file, compressed or not
    return _File(content, gzip.compress(content, mtime=0), kind, tag)
