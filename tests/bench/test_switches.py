"""A share of the many switches: each prompt ends in exactly one way, and a switch without an end would be seen."""

import asyncio
import time

from client.switch import Switch
from tests.bench.switches import end_of, run
from tests.serving import running_service

SESSIONS, SWITCHES = 3, 90


def test_every_prompt_ends_in_one_way() -> None:
    with running_service() as address:
        result = asyncio.run(run(f"ws://{address}", sessions=SESSIONS, switches=SWITCHES, rate=8.0))
    ends = result["ends"]
    assert isinstance(ends, dict)
    assert sum(ends.values()) == SWITCHES
    assert set(ends) <= {"applied", "superseded"}
    assert ends["applied"] >= SESSIONS


def test_a_prompt_without_an_end_is_counted_as_such() -> None:
    assert end_of(Switch("event", "a prompt", time.monotonic())) == "none"
