"""Server-sent events over connections that break: each event once, and an end to trying."""

from http.server import BaseHTTPRequestHandler

import pytest

from client.errors import ConnectionLost, RequestRefused
from client.event_stream import ServerEvent, events
from client.http import Server
from tests.client.serving import answering

EVENTS = [(1, "queued"), (2, "in_progress"), (3, "in_progress"), (4, "completed")]


def is_last(event: ServerEvent) -> bool:
    return event.name == "completed"


class Stream:
    """Says `count` events a connection, behind the last one that the client names; the connection then breaks."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[str | None] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        last = request.headers["Last-Event-ID"]
        self.asked.append(last)
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        request.wfile.write(b"retry: 2000\n\n: alive\n\n")
        behind = [event for event in EVENTS if event[0] > int(last or 0)]
        for number, name in behind[: self.count]:
            request.wfile.write(f"id: {number}\nevent: {name}\ndata: one\ndata: two\n\n".encode())
        request.wfile.write(b"id: 99\nevent: half")


@pytest.mark.parametrize(("count", "asked"), [(4, [None]), (3, [None, "3"]), (1, [None, "1", "2", "3"])])
async def test_events_go_on_over_another_connection(count: int, asked: list[str | None]) -> None:
    stream = Stream(count)
    with answering(stream) as url:
        said = [event async for event in events(Server(url), "/events", is_last=is_last, pause=0.01)]
    assert [(int(event.id), event.name) for event in said] == EVENTS
    assert {event.data for event in said} == {"one\ntwo"}
    assert stream.asked == asked


async def test_trying_has_an_end() -> None:
    stream = Stream(0)
    with answering(stream) as url, pytest.raises(ConnectionLost, match="/events were lost"):
        [event async for event in events(Server(url), "/events", is_last=is_last, attempts=3, pause=0.01)]
    assert stream.asked == [None] * 3


async def test_nothing_more_to_say_is_an_end() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(204)
        request.end_headers()

    with answering(answer) as url:
        assert [event async for event in events(Server(url), "/events", is_last=is_last)] == []


async def test_a_refusal_is_not_tried_again() -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        body = b'{"code": "video_unknown", "detail": "none", "error": {"param": "video"}}'
        request.send_response(404)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as url, pytest.raises(RequestRefused) as caught:
        [event async for event in events(Server(url), "/events", is_last=is_last)]
    assert (caught.value.code, caught.value.field, asked) == ("video_unknown", "video", ["/events"])
