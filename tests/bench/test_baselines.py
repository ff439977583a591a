"""The baselines: the published way passes the published tensors, all ways give one output, memory does not grow."""

from pathlib import Path

import pytest

from models.reference import list_cases, read_case, run_case
from tests.bench import baselines
from tests.bench.published import PublishedPasses, as_published

CASES = Path(__file__).parent.parent / "reference" / "data"


@pytest.mark.parametrize("name", list_cases(CASES))
def test_the_published_way_passes_the_published_tensors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def passes(transformer, window, **sizes):  # type: ignore[no-untyped-def]
        as_published(transformer, rank=4)
        return PublishedPasses(transformer, window, height=sizes["height"], width=sizes["width"])

    monkeypatch.setattr("models.reference.CachedPasses", passes)
    assert [item for item in run_case(read_case(CASES, name)) if not item.largest <= 1e-4] == []


def test_all_ways_give_one_output_and_a_figure() -> None:
    report = baselines.report(layers=1, side=4, rounds=1, rank=8)
    assert list(report["gain"]) == list(report["block_ms"])  # type: ignore[call-overload]
    assert set(report["block_ms"]) == {  # type: ignore[call-overload]
        "published",
        "published, adapter merged",
        "plain",
        "hot, plain",
        "hot, lean",
    }


def test_nothing_grows() -> None:
    alive = baselines.growth(100)["tensors_alive"]
    assert isinstance(alive, list)
    assert len(alive) == 10
    assert max(alive[1:]) == min(alive[1:])
