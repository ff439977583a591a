"""What is asked over HTTP: a ticket for a session, or why there is none."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from client.comeback import ResumeTicket
from client.errors import ConnectFailed, ProtocolViolation, RequestRefused
from client.http import Server
from client.sessions import ask_for_ticket, parse_ticket

TICKET = {"session_id": "a", "resume_token": "t", "next_sequence": 4, "block": 4, "seconds": 3.0}
ANSWERS = {
    "/v1/sessions/a/resume": (200, TICKET),
    "/v1/sessions/live/resume": (409, {"code": "session_live", "detail": "It is live."}),
    "/v1/sessions/odd/resume": (500, {}),
    "/under/v1/sessions/a%2Fb/resume": (200, TICKET | {"next_sequence": 0}),
}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        status, document = ANSWERS.get(self.path, (404, {"code": "session_unknown", "detail": "No."}))
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_a_ticket_goes_on_after_the_last_chunk(address: str) -> None:
    assert await ask_for_ticket(Server(f"ws://{address}"), "a") == ResumeTicket("a", "t", 3)
    assert await ask_for_ticket(Server(f"http://{address}/under/"), "a/b") == ResumeTicket("a", "t", None)


async def test_a_refusal_has_the_servers_code(address: str) -> None:
    for name, code in (("live", "session_live"), ("none", "session_unknown")):
        with pytest.raises(RequestRefused) as caught:
            await ask_for_ticket(Server(address), name)
        assert caught.value.code == code
    with pytest.raises(ConnectFailed, match="the server answered 500"):
        await ask_for_ticket(Server(address), "odd")


async def test_no_server_is_said_so() -> None:
    with pytest.raises(ConnectFailed, match="expected a Longtake server"):
        await ask_for_ticket(Server("ws://127.0.0.1:1"), "a")


@pytest.mark.parametrize("change", [{"next_sequence": -1}, {"next_sequence": "4"}, {"resume_token": None}])
def test_a_ticket_that_is_none_is_a_violation(change: dict[str, object]) -> None:
    for text in (json.dumps(TICKET | change).encode(), b"", b"[]", b"\xff"):
        with pytest.raises(ProtocolViolation, match="expected a ticket"):
            parse_ticket(text)
