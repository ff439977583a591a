"""A file of requests through the real service and the demo model: pictures by URL, hooks, webhooks, provenance.

The receiver of the webhooks and the server of the picture are the test's own. Equalities only.
"""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import pytest

from service.outbound.signing import verify
from tests.models.pictures import noise, png
from tests.serving import ROOT, running_service

pytestmark = pytest.mark.system

LIMIT = 400
PROMPT = "a red ball bounces over a grassy meadow by day"
PICTURE = png(noise(60, 40))


class Outside(BaseHTTPRequestHandler):
    """Another machine, as far as the service knows: it gives a picture, and takes webhooks."""

    told: list[tuple[dict[str, str], bytes]]
    heard: threading.Semaphore

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PICTURE)))
        self.end_headers()
        self.wfile.write(PICTURE)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()
        self.heard.release()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def outside() -> Iterator[tuple[str, type[Outside]]]:
    kind: type[Outside] = type("Here", (Outside,), {"told": [], "heard": threading.Semaphore(0)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kind
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LIMIT)


def longtake(*words: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service", *words]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert ran.returncode == code, ran.stderr
    return ran


def read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def requests(place: str) -> bytes:
    lines = (
        {"custom_id": "plain", "prompt": PROMPT, "prompts": [{"at": 1, "prompt": "it sways in the city at night"}]},
        {"custom_id": "pictured", "prompt": PROMPT, "input_reference": {"image_url": f"{place}/picture.png"}},
        {"custom_id": "impossible", "prompt": PROMPT, "size": "7x7"},
    )
    common = {"seconds": "2", "seed": 5, "webhook_url": f"{place}/hook"}
    return b"\n".join(json.dumps(line | common).encode() for line in lines)


def settings(folder: Path) -> list[str]:
    words = folder / "words"
    words.write_text("gun\n")
    hooks = ("prompt_enhancer=fill", "content_policy=words", f"policy_words_file={words}")
    said = (*hooks, "outbound_http=true", "outbound_networks=127.0.0.0/8")
    return [word for setting in said for word in ("--set", setting)]


def test_a_file_of_requests_becomes_a_folder_of_videos(tmp_path: Path) -> None:
    file, out = tmp_path / "stories.jsonl", tmp_path / "stories"
    with outside() as (place, heard), running_service(*settings(tmp_path)) as address:
        file.write_bytes(requests(place))
        words = ("batch", str(file), "--url", f"ws://{address}")
        sent = json.loads(longtake(*words, "--no-wait", "--json").stdout)
        assert (sent["counts"]["total"], sent["files"]) == (3, [])
        *videos, last = map(json.loads, longtake(*words, "--json", code=1).stdout.splitlines())
        assert (last["batch"], last["status"], last["failed"]) == (
            sent["batch"],
            "completed",
            {"impossible": "size_invalid"},
        )
        assert {video["custom_id"] for video in videos} == {"plain", "pictured", "impossible"}
        check_files(out, {video["custom_id"]: video["id"] for video in videos})
        check_webhooks(address, heard, {video["id"]: video["status"] for video in videos})
        plain = next(video for video in videos if video["custom_id"] == "plain")
        assert plain["prompts"][1]["prompt"] == "a red ball sways in the city at night"
        check_journal(address, plain["id"])
        check_policy(address, tmp_path, words)


def check_files(out: Path, names: dict[str, str]) -> None:
    """Exactly as long as was asked for, and they say that they are made, by what and as which job."""
    for name in ("plain", "pictured"):
        with av.open(str(out / f"{name}.mp4"), mode="r") as container:
            assert sum(1 for _ in container.decode(video=0)) == 32
            comment = container.metadata["comment"]
        assert comment == f"generated by Longtake; model demo; job {names[name]}"
    assert not (out / "impossible.mp4").exists()


def check_webhooks(address: str, heard: type[Outside], ended: dict[str, str]) -> None:
    for _ in ended:
        assert heard.heard.acquire(timeout=LIMIT)
    secret = read(f"http://{address}/v1/webhooks/secret")["secret"]
    told = {}
    for headers, body in heard.told:
        assert verify(headers, body, secret=secret, now=float(headers["webhook-timestamp"]))
        said = json.loads(body)
        told[said["data"]["id"]] = said["type"].removeprefix("video.")
    assert told == ended


def check_journal(address: str, video: str) -> None:
    events = read(f"http://{address}/v1/sessions/{video}/journal")["events"]
    said = [event["event"] for event in events]
    found = [event for event in said if event["type"].startswith("prompt_")]
    assert [event["type"] for event in found] == ["prompt_allowed", "prompt_enhanced", "prompt_allowed"]
    assert found[1]["prompt"] == "it sways in the city at night"


def check_policy(address: str, folder: Path, words: tuple[str, ...]) -> None:
    """Refused with the line and the code, by the command and over REST."""
    wrong = folder / "wrong.jsonl"
    wrong.write_text('{"prompt": "a gun"}')
    refused = longtake("batch", str(wrong), *words[2:], code=2)
    assert "error: policy_refused (1.prompts.0)" in refused.stderr
    body = json.dumps({"prompt": "a GUN"}).encode()
    asked = urllib.request.Request(f"http://{address}/v1/videos", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked, timeout=60)
    with caught.value:
        assert (caught.value.code, json.load(caught.value)["code"]) == (403, "policy_refused")
