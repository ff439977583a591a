"""What holds for every test: no settings from the machine, and no deadline that a busy machine could miss."""

import os

import pytest
from hypothesis import settings

settings.register_profile("longtake", deadline=None)
settings.load_profile("longtake")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A LONGTAKE_... variable of whoever runs the tests must not decide whether they pass."""
    for name in [name for name in os.environ if name.startswith("LONGTAKE_") and name != "LONGTAKE_REFERENCE"]:
        monkeypatch.delenv(name)
