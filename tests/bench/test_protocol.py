"""A share of the protocol run: messages in any order, and every error code by its own way."""

from service.errors import ErrorCode
from tests.bench import protocol
from tests.bench.error_codes import all_codes


def test_any_order_of_messages_gets_documented_answers() -> None:
    tally = protocol.run(1000, steps=40)
    assert tally["messages"] >= 1000
    assert tally["session.pong"] > 0
    assert tally["video.start"] > 0


async def test_each_error_code_is_reached() -> None:
    assert set(ErrorCode) - await all_codes() == set()
