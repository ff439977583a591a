"""A store in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store.store import SessionStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    opened = SessionStore(tmp_path / "store")
    yield opened
    opened.close()
