"""What holds for every test: no settings from the machine, and nothing that a busy machine makes slow or fail."""

import os

# Before torch is imported. Two threads that wait for each other in a loop are fast on an idle machine, and many
# times slower than one as soon as anything else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

settings.register_profile("longtake", deadline=None)
settings.load_profile("longtake")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A LONGTAKE_... variable of whoever runs the tests must not decide whether they pass."""
    for name in [name for name in os.environ if name.startswith("LONGTAKE_") and name != "LONGTAKE_REFERENCE"]:
        monkeypatch.delenv(name)
