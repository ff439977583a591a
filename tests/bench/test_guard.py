"""A share of the clean blocks: none of them is an alarm."""

from tests.bench import guard


def test_clean_blocks_raise_no_alarm() -> None:
    result = guard.run(24)
    assert result["alarms"] == []
    assert isinstance(result["least_difference"], float)
    assert result["least_difference"] > 4
