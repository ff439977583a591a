"""The image, built and run for real: `python -m tests.bench.image [--target cpu]`, as root, where no engine is.

Builds the base and the Dockerfile with buildah, runs the image's own command as its user on a read-only root, streams
through it from outside, stops it with SIGTERM in mid-session, and starts it again on the same store. Ends with one
line of JSON. Knows tests/deploy/containers.py for the rest; every check that fails ends the command.
"""

import argparse
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.deploy.containers import (
    BASE,
    ROOT,
    Container,
    ImageConfig,
    build_image,
    have_image,
    make_base,
    mounted,
    running,
    wait_until_healthy,
)

START_LIMIT = 600.0
FORBIDDEN = ("/", "/etc", "/opt/longtake", "/var/lib/longtake", "/usr/bin")
"""Folders in which nobody may write."""
PROMPT, LATER = "a red ball bounces over a grassy meadow by day", "a blue star bounces in the desert at sunset"


def timed(figures: dict[str, Any], name: str, work: Callable[[], object]) -> None:
    began = time.monotonic()
    work()
    figures[name] = round(time.monotonic() - began, 1)


def check(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"failed: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_confinement(container: Container) -> None:
    """The image's user, no capability, no way to more, and nothing to write to but volumes and /tmp."""
    check(container.execute("id", "-u").stdout.strip() == container.config.user.partition(":")[0], "the user")
    status = dict(
        line.split(":\t", 1) for line in container.execute("cat", "/proc/1/status").stdout.splitlines() if ":\t" in line
    )
    check(int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, "no capability is left")
    check(status["NoNewPrivs"] == "1", "no new privileges")
    for folder in FORBIDDEN:
        said = container.execute("touch", f"{folder}/probe").stderr
        check("Read-only file system" in said, f"{folder} cannot be written to ({said.strip()})")
    for folder in (*container.config.volumes, "/tmp"):
        check(container.execute("touch", f"{folder}/.probe").returncode == 0, f"{folder} can be written to")


def stream(port: int, *, seconds: int) -> "subprocess.Popen[str]":
    words = ["stream", "--url", f"ws://127.0.0.1:{port}", "--json", "--seconds", str(seconds)]
    command = [sys.executable, "-m", "service", *words, "--prompt", PROMPT, "--at", "2s", LATER]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def report_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    said, beside = process.communicate(timeout=300)
    check(bool(said.strip()), f"the stream has a report ({beside[-500:]})")
    report: dict[str, Any] = json.loads(said.splitlines()[-1])
    return report


def fetch(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return json.load(answer)


def serve_twice(image: str, figures: dict[str, Any], *, work: Path, settings: dict[str, str]) -> None:
    port = free_port()
    variables = {"LONGTAKE_PORT": str(port), "LONGTAKE_AUTHENTICATION": "none_anybody_may_do_anything"}
    variables |= {"LONGTAKE_MISSING_ORIGIN": "allow", **settings}
    config = ImageConfig.read(image)
    volumes = {path: work / path.strip("/").replace("/", "-") for path in config.volumes}
    with mounted(image) as tree:
        packages = json.loads((tree / "opt/longtake/sbom.cdx.json").read_text("utf-8"))["components"]
        figures["packages"] = len(packages)
        given: dict[str, Any] = {"tree": tree, "volumes": volumes, "environment": variables, "log": work / "log"}
        with running(image, **given) as container:
            figures["ready_s"] = round(wait_until_healthy(container, within=START_LIMIT), 1)
            check_confinement(container)
            report = report_of(stream(port, seconds=6))
            figures |= {name: report[name] for name in ("frames", "missing", "duplicated")}
            figures["first_frame_ms"] = report.get("first_frame_ms")
            check(report["frames"] >= 96 and not report["missing"] and not report["duplicated"], "the stream is whole")
            check(report["switches"][0]["chunk"] is not None, "the new prompt was seen")
            figures["drain_s"] = drain_under_way(container, port)
        with running(image, **given) as container:
            wait_until_healthy(container, within=START_LIMIT)
            kept = fetch(port, "/v1/sessions")["data"]
            check(len(kept) == 2, "the store outlives the container")
            check(container.stop(signal.SIGTERM) == 0, "an idle container ends with 0")
    figures["sessions_kept"] = len(kept)


def drain_under_way(container: Container, port: int) -> float:
    """SIGTERM while a session runs: it is told, and the container ends with 0."""
    live = stream(port, seconds=600)
    while fetch(port, "/readyz")["sessions"] == 0:
        check(live.poll() is None, "the session begins")
        time.sleep(0.1)
    time.sleep(2.0)  # in its midst
    began = time.monotonic()
    check(container.stop(signal.SIGTERM) == 0, "the container ends with 0")
    took = time.monotonic() - began
    live.communicate(timeout=120)
    return round(took, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cpu", help="a target of deploy/Dockerfile")
    parser.add_argument("--image", help="run this image instead of building one")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of the container's environment"
    )
    parser.add_argument("--log", type=Path, help="file for what the build says")
    options = parser.parse_args()
    image = options.image or f"localhost/longtake:{options.target}"
    figures: dict[str, Any] = {"image": image}
    with TemporaryDirectory(prefix="longtake-image-") as folder:
        work = Path(folder)
        if options.image is None:
            if not have_image(BASE):
                timed(figures, "base_s", make_base)
            arguments = [word for pair in options.build_arg for word in ("--build-arg", pair)]
            log = options.log or work / "build"
            timed(figures, "build_s", lambda: build_image(options.target, image, arguments=arguments, log=log))
        try:
            if not options.build_only:
                serve_twice(image, figures, work=work, settings=dict(pair.split("=", 1) for pair in options.set))
        except BaseException:
            if (work / "log").exists():
                sys.stderr.write((work / "log").read_text("utf-8", "replace")[-5000:])
            raise
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
