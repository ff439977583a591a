import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import longtake
from client.client import connect
from models.load import load_generator

ROOT = Path(__file__).parent.parent


def test_names_are_the_real_ones() -> None:
    assert longtake.connect is connect
    assert longtake.load_generator is load_generator


def test_every_name_is_there() -> None:
    assert dir(longtake) == longtake.__all__
    assert all(getattr(longtake, name) is not None for name in longtake.__all__)


def test_version_is_the_project_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert longtake.__version__ == project["version"]


def test_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"longtake has no 'conect'; its names are .*connect"):
        longtake.conect  # noqa: B018


def test_client_names_import_no_torch() -> None:
    names = "longtake.connect, longtake.Media, longtake.Client, longtake.SyncClient, longtake.Video"
    code = f"import sys, longtake; {names}; print('torch' in sys.modules or 'fastapi' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "False"
