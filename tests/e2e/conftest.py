"""What tests of the page share: a browser, and a service whose frames can be known by their pixels."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.pages import SETTINGS, chromium
from tests.serving import running_service


@pytest.fixture(scope="module", name="address")
def _address() -> Iterator[str]:
    with running_service(*SETTINGS) as address:
        yield address


@pytest.fixture(scope="module", name="browser")
def _browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser
