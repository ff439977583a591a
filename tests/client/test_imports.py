"""What importing the client loads: a program that only watches needs no engine and no web framework."""

import subprocess
import sys

import pytest

FORBIDDEN = ["torch", "fastapi", "starlette", "uvicorn", "models", "cache", "service.api", "service.worker"]


@pytest.mark.parametrize(
    "module",
    [
        "client.client",
        "client.library",
        "client.sync_library",
        "client.sync",
        "client.load",
        "client.stream",
        "client.report",
        "client.video",
    ],
)
def test_import_loads_neither_torch_nor_the_web_framework(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {FORBIDDEN} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


def test_client_alone_loads_no_video_library() -> None:
    code = "import sys, client.client; print([name for name in ('av', 'tqdm') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"
