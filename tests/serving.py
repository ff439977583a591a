"""A whole service for a test: `longtake serve` in a process of its own, on a free port.

Knows the command and what it prints; nothing of what runs inside. Invariant: whatever the test does, the process is
gone when the context is left.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)")
START_LIMIT = 600.0
STOP_LIMIT = 60.0


@contextmanager
def running_service(*options: str) -> Iterator[str]:
    """The `host:port` of a service that is ready, started with these options of `longtake serve`.

    Its store is gone with it, unless an option names one.
    """
    command = [sys.executable, "-m", "service", "serve", "--port", "0", *options]
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        # A busy machine may need minutes to load the engine; nobody wants to know here that it did.
        patience = {"LONGTAKE_WORKER_START_TIMEOUT": str(START_LIMIT)}
        environment = os.environ | patience | {"LONGTAKE_STORE_DIR": str(Path(folder) / "store")}
        with log.open("w") as said:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            yield _wait_for_address(process, log)
            process.send_signal(signal.SIGINT)
            code = process.wait(STOP_LIMIT)
            assert code == 0, f"the service left with code {code}:\n{log.read_text()}"
        finally:
            process.kill()
            process.wait()


def _wait_for_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The address is printed when the service is ready."""
    until = time.monotonic() + START_LIMIT
    while time.monotonic() < until and process.poll() is None:
        found = ADDRESS.search(log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    ended = f"left with code {process.returncode}" if process.returncode is not None else "is not ready in time"
    raise AssertionError(f"the service {ended}:\n{log.read_text()}")
