"""A hub on this machine, for tests: as much of its protocol as a download of one file needs, with ranges.

It can break off answers, to see whether a download goes on where it ended. Knows files by repository and path.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789012345678901234567890123456789"


@dataclass
class FakeHub:
    """`cut` bytes are sent of the next answers, as many as there are numbers in it, before the line is dropped.

    `elsewhere` is where it says that its files lie; with itself if empty.
    """

    files: dict[str, bytes]
    cut: list[int] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    authorizations: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    elsewhere: str = ""

    def sent_ranges(self) -> list[str]:
        return [sent for method, _, sent in self.requests if method == "GET"]


@contextmanager
def serve_hub(files: dict[str, bytes]) -> Iterator[FakeHub]:
    """Serves `OWNER/NAME/path` as the hub serves a file of a revision, and under `/plain/` as any server would."""
    hub = FakeHub(files)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            asked = self.headers.get("Range", "")
            hub.requests.append((self.command, self.path, asked))
            hub.authorizations.append((self.command, self.headers.get("Authorization", "")))
            name = self.path.split("?")[0].strip("/").removeprefix("plain/").replace(f"/resolve/{COMMIT}/", "/")
            content = hub.files.get(name)
            if content is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if hub.elsewhere and not with_body:
                self.send_response(302)
                self.send_header("Location", f"{hub.elsewhere}/plain/{name}")
                self.send_header("X-Linked-ETag", f'"{sha256(content).hexdigest()}"')
                self.send_header("X-Linked-Size", str(len(content)))
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(asked.removeprefix("bytes=").split("-")[0] or 0) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if with_body:
                body = content[start:]
                self.wfile.write(body[: hub.cut.pop(0)] if hub.cut else body)
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
