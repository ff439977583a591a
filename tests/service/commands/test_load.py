import json

import pytest

from client.load import LoadOptions as Load
from client.load_report import SessionRecord, build_load_report
from client.report import ChunkArrival
from service.commands.load import load_of, run_load
from service.commands.options import LoadOptions, OptionError


def test_options_are_the_same_load_in_the_client_s_words() -> None:
    options = LoadOptions(
        sessions=3, seconds=5.0, url="ws://x", pacing="none", switch_every=2.0, mode="cut", preset="other"
    )
    assert load_of(options) == Load(3, 5.0, url="ws://x", pacing="none", switch_every=2.0, mode="cut", model="other")


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        (LoadOptions(sessions=0), "field_range", "sessions"),
        (LoadOptions(seconds=0.0), "field_range", "seconds"),
        (LoadOptions(switch_every=-1.0), "field_range", "switch_every"),
        (LoadOptions(pacing="slow"), "field_choice", "pacing"),
        (LoadOptions(mode="melt"), "field_choice", "mode"),
    ],
)
def test_wrong_options_are_named(options: LoadOptions, code: str, field: str) -> None:
    with pytest.raises(OptionError) as caught:
        load_of(options)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_json_is_the_last_line_and_the_table_is_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chunks = (ChunkArrival(1.0, 0.0, 12), ChunkArrival(1.75, 0.75, 12))
    records = [SessionRecord(0.5, "completed", fps=16.0, arrivals=chunks), SessionRecord(0.5, "refused", "capacity")]
    monkeypatch.setattr("service.commands.load.run_sessions", lambda load: build_load_report(records))
    run_load(LoadOptions(json=True))
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert json.loads(out)["refused"] == {"capacity": 1}
    run_load(LoadOptions())
    table = capsys.readouterr().out
    assert table == err
    assert "2 sessions: 1 completed, 1 refused (capacity)" in table
    assert "chunk gap, ms                1     750.0" in table
