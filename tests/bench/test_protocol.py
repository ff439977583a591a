"""A share of the protocol run: messages in any order, and every error code by its own way."""

from pathlib import Path

import pytest

from service.errors import ErrorCode
from tests.bench import protocol
from tests.bench.error_codes import all_codes
from tests.bench.rest_codes import codes_over_rest

ROOT = Path(__file__).parents[2]
# Told by a job at its end, by a command, by another server's answer, or by a disk.
ELSEWHERE = (
    ErrorCode.ATTEMPT_STALE,
    ErrorCode.BACKUP_INVALID,
    ErrorCode.BATCH_INVALID,
    ErrorCode.DISK_FULL,
    ErrorCode.HOOK_FAILED,
    ErrorCode.JOB_SET_ASIDE,
    ErrorCode.MEDIA_FAILED,
    ErrorCode.RANGE_INVALID,
    ErrorCode.SESSION_ELSEWHERE,
    ErrorCode.STORE_BEHIND,
    ErrorCode.STORE_VERSION_UNKNOWN,
    ErrorCode.URL_FAILED,
    ErrorCode.URL_TOO_LARGE,
    ErrorCode.VIDEO_EXPIRED,
)


def test_any_order_of_messages_gets_documented_answers() -> None:
    tally = protocol.run(1000, steps=40)
    assert tally["messages"] >= 1000
    assert tally["session.pong"] > 0
    assert tally["video.start"] > 0


async def test_each_error_code_is_reached() -> None:
    heard = await all_codes() | await codes_over_rest()
    assert set(ErrorCode) - heard - set(ELSEWHERE) == set()


@pytest.mark.parametrize("code", ELSEWHERE)
def test_a_code_that_takes_more_than_a_request_has_a_test_of_its_own(code: ErrorCode) -> None:
    tests = [file for file in (ROOT / "tests").rglob("test_*.py") if "bench" not in file.parts]
    words = (f"ErrorCode.{code.name}", f'"{code.value}"', "".join(part.title() for part in reversed(code.split("_"))))
    assert any(word in file.read_text(encoding="utf-8") for file in tests for word in words)
