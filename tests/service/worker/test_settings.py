"""The one line a worker is started with."""

import pytest

from service.worker.settings import settings_from_json, settings_to_json
from tests.service.worker.fakes import SETTINGS


def test_settings_are_one_line_and_come_back_the_same() -> None:
    line = settings_to_json(SETTINGS)
    assert line.count(b"\n") == 1
    assert settings_from_json(line) == SETTINGS


@pytest.mark.parametrize(
    ("change", "named"),
    [((b'"preset"', b'"pre"'), "pre"), ((b'"threads":1', b'"threads":"1"'), "threads"), ((b"{", b"["), "object")],
)
def test_a_line_that_does_not_fit_names_what_is_wrong(change: tuple[bytes, bytes], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        settings_from_json(settings_to_json(SETTINGS).replace(*change))


def test_an_empty_line_is_refused() -> None:
    with pytest.raises(ValueError, match="truncated"):
        settings_from_json(b"")
