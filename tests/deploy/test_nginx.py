"""The service behind the real nginx, as deploy/nginx configures it: TLS, path prefix, WebSocket, uploads, resume."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deploy.proxy import Proxy, proxied
from tests.models.pictures import noise, png
from tests.serving import ROOT, running_service

pytestmark = pytest.mark.system
PROMPT, LATER = "a red ball bounces over a grassy meadow by day", "a blue star bounces in the desert at sunset"
LIMIT = 300.0


@dataclass(frozen=True)
class Behind:
    proxy: Proxy
    service: str

    def fetch(
        self, path: str, *, body: bytes | None = None, kind: str = "application/octet-stream"
    ) -> tuple[int, bytes]:
        """Status and body of an answer through the proxy, below its prefix."""
        headers = {"Content-Type": kind} if body is not None else {}
        request = urllib.request.Request(f"https://{self.proxy.authority}/video{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.proxy.trust()) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stream(self, *words: str) -> "subprocess.Popen[str]":
        """`longtake stream` over TLS, below the prefix."""
        url = ["--url", f"wss://{self.proxy.authority}/video"]
        return subprocess.Popen(
            [sys.executable, "-m", "service", "stream", *url, "--json", "--prompt", PROMPT, *words],
            cwd=ROOT,
            env=self.proxy.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def report_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    said, beside = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, beside
    report: dict[str, Any] = json.loads(said.splitlines()[-1])
    return report


def blocks_of_live_session(behind: Behind) -> int:
    newest = json.loads(behind.fetch("/v1/sessions?limit=1")[1])["data"]
    if not newest or newest[0]["ended_at"] is not None:
        return 0
    return int(json.loads(behind.fetch(f"/v1/sessions/{newest[0]['id']}")[1])["blocks"])


@pytest.fixture(scope="module", name="behind")
def _behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("behind")
    # nginx's own processes are of another user: the folder above has to let them through.
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    with running_service() as service, proxied(folder / "nginx", service) as proxy:
        yield Behind(proxy, service)


def test_the_page_and_all_it_loads_are_below_the_prefix(behind: Behind) -> None:
    status, page = behind.fetch("/")
    assert status == 200
    named = re.findall(r'(?:src|href)="([^"#]+)"', page.decode())
    assert len(named) > 2
    assert [name for name in named if name.startswith(("/", "http"))] == []
    assert {name: behind.fetch(f"/{name}")[0] for name in named} == dict.fromkeys(named, 200)


def test_the_interface_is_below_the_prefix_and_metrics_are_not(behind: Behind) -> None:
    assert behind.fetch("/readyz")[0] == 200
    assert json.loads(behind.fetch("/v1/models")[1])["data"][0]["id"] == "demo"
    assert behind.fetch("/metrics")[0] == 404
    with urllib.request.urlopen(f"http://{behind.service}/metrics", timeout=60) as answer:
        assert b"longtake_ready 1.0" in answer.read()


def test_a_stream_over_tls_is_whole(behind: Behind) -> None:
    report = report_of(behind.stream("--seconds", "4", "--pacing", "none", "--at", "1s", LATER))
    assert (report["missing"], report["duplicated"], report["reconnects"]) == (0, 0, 0)
    assert report["frames"] >= 64
    assert report["switches"][0]["chunk"] is not None


def test_a_large_upload_comes_through(behind: Behind) -> None:
    picture = png(noise(1500, 1500))
    assert 5 * 1024**2 < len(picture) < 8 * 1024**2
    status, said = behind.fetch("/v1/pictures", body=picture, kind="image/png")
    assert (status, "picture_id" in json.loads(said)) == (201, True), said
    # The limit is the service's, told in its words, and not the proxy's.
    status, said = behind.fetch("/v1/pictures", body=picture + bytes(9 * 1024**2), kind="image/png")
    assert (status, json.loads(said)["code"]) == (413, "picture_too_large")


def test_a_stream_goes_on_through_a_proxy_that_is_started_again(behind: Behind) -> None:
    live = behind.stream("--seconds", "8", "--seed", "5")
    until = time.monotonic() + LIMIT
    while blocks_of_live_session(behind) < 3:
        assert time.monotonic() < until
        assert live.poll() is None
        time.sleep(0.2)
    behind.proxy.stop()
    behind.proxy.start()
    report = report_of(live)
    assert report["reconnects"] >= 1
    assert (report["missing"], report["duplicated"]) == (0, 0)
    assert report["frames"] >= 128
