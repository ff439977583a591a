import json
from pathlib import Path

import pytest

from cache.recache import Mode
from client.recording import TakeFiles
from client.report import StreamReport, SwitchReport
from client.requests import Adapter, Delivery, Media, Model, PromptChange
from client.stream import StreamOptions as ClientTake
from models.journal import AdapterChoice, Event, Journal, PromptEvent, TakeEvent, WeightedPrompt
from service.commands.options import OPENING_NOTE, OptionError, StreamOptions
from service.commands.stream import check_start, picture_of, run_stream, take_of
from service.errors import ErrorCode, ProtocolError
from service.protocol import client as protocol

REPORT = StreamReport(
    frames=12,
    seconds=0.75,
    fps=16.0,
    first_frame_ms=1.0,
    chunks=1,
    missing=0,
    duplicated=0,
    underruns=0,
    switches=(SwitchReport("rain"),),
)


def journal_file(folder: Path, *events: Event) -> Path:
    first = PromptEvent(block=0, prompts=(WeightedPrompt("sun"),))
    path = folder / "journal.json"
    path.write_text(Journal(model="demo", seed=5, fingerprint="f", events=(first, *events)).to_json())
    return path


def prompt_at(block: int, text: str, mode: Mode = "recache") -> PromptEvent:
    return PromptEvent(block=block, prompts=(WeightedPrompt(text, 2.0),), mode=mode)


def test_a_journal_gives_prompts_at_their_blocks_and_the_seed(tmp_path: Path) -> None:
    path = journal_file(tmp_path, prompt_at(3, "sea", "cut"), prompt_at(5, "fog"), prompt_at(9, "rain"))
    take = take_of(StreamOptions(journal=path))
    assert (take.model, take.seed, take.prompt) == ("demo", 5, [protocol.WeightedPrompt(text="sun", weight=1.0)])
    assert [(prompt.block, prompt.cuts, prompt.event_id) for prompt in take.replayed] == [
        (3, 0, "prompt-1"),
        (5, 1, "prompt-2"),
        (9, 1, "prompt-3"),
    ]
    assert take.replayed[0].change.mode == "cut"
    with pytest.raises(OptionError, match="with a TakeEvent"):
        take_of(StreamOptions(journal=journal_file(tmp_path, TakeEvent(block=2, take=1))))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"prompt": "sun", "resume": "s1"}, "resume"),
        ({"prompt": "sun", "journal": Path("a")}, "journal"),
        ({"journal": Path("a"), "seed": 4}, "seed"),
        ({"journal": Path("a"), "at": ["1s a"]}, "at"),
        ({"journal": Path("a"), "adapter": ["ink"]}, "adapter"),
        ({"resume": "s1", "adapter": ["ink"]}, "adapter"),
        ({}, "prompt"),
    ],
)
def test_a_take_begins_in_one_way(options: dict[str, object], field: str) -> None:
    with pytest.raises(OptionError) as caught:
        take_of(StreamOptions(**options))  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_session_can_be_gone_on_with() -> None:
    take = take_of(StreamOptions(resume="s1", seconds=3.0))
    assert (take.resume, take.prompt, take.seconds) == ("s1", None, 3.0)
    check_start(take)


def test_options_are_the_same_take_in_the_client_s_words() -> None:
    options = StreamOptions(
        prompt="sun",
        at=["8s fog", "4s rain"],
        seconds=12.0,
        out=Path("a.mp4"),
        seed=7,
        mode="flush",
        sink="refresh",
        transition=2,
        preset="other",
        save_journal=Path("a.json"),
        sha256=Path("a.sha256"),
        url="ws://127.0.0.1:9",
        pacing="none",
        schedule="server",
        format="png",
        quality=50,
        buffer=4.0,
        slow_consumer="drop",
    )
    change = {"mode": "flush", "sink": "refresh", "transition_chunks": 2}
    assert take_of(options) == ClientTake(
        prompt="sun",
        seconds=12.0,
        url="ws://127.0.0.1:9",
        prompts=(PromptChange("rain", at=4.0, **change), PromptChange("fog", at=8.0, **change)),  # type: ignore[arg-type]
        schedule="server",
        model="other",
        seed=7,
        media=Media(format="png", quality=50),
        pacing="none",
        delivery=Delivery(slow_consumer="drop", buffer_seconds=4.0),
        files=TakeFiles(video=Path("a.mp4"), hashes=Path("a.sha256"), journal=Path("a.json")),
    )


def test_defaults_are_those_of_the_client() -> None:
    assert take_of(StreamOptions(prompt="sun")) == ClientTake(prompt="sun", seconds=10.0)


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        (StreamOptions(), "prompt_missing", "prompt"),
        (StreamOptions(prompt="sun", seconds=0.0), "field_range", "seconds"),
        (StreamOptions(prompt="sun", schedule="nobody"), "field_choice", "schedule"),
        (StreamOptions(prompt="sun", at=["later rain"]), "time_invalid", "at"),
        (StreamOptions(prompt="sun", adapter=["ink:much"]), "field_type", "adapter"),
        (StreamOptions(prompt="sun", adapter=["ink:"]), "field_type", "adapter"),
    ],
)
def test_wrong_options_are_named(options: StreamOptions, code: str, field: str) -> None:
    with pytest.raises(OptionError) as caught:
        take_of(options)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_adapters_are_named_in_order_each_with_its_scale() -> None:
    take = take_of(StreamOptions(prompt="sun", preset="other", adapter=["ink", "wash:-0.5"]))
    assert take.model == Model("other", (Adapter("ink"), Adapter("wash", -0.5)))
    with pytest.raises(ProtocolError) as caught:
        check_start(take_of(StreamOptions(prompt="sun", adapter=[":2"])))
    assert (caught.value.code, caught.value.field) == (ErrorCode.FIELD_RANGE, "adapters.0.name")


def test_a_journal_s_adapters_are_asked_for_again(tmp_path: Path) -> None:
    first = PromptEvent(block=0, prompts=(WeightedPrompt("sun"),), adapters=(AdapterChoice("ink", 0.5),))
    later = PromptEvent(block=3, prompts=(WeightedPrompt("sea"),), adapters=())
    path = tmp_path / "journal.json"
    path.write_text(
        Journal(model="demo", seed=5, fingerprint="f", events=(first, later, prompt_at(6, "fog"))).to_json()
    )
    take = take_of(StreamOptions(journal=path))
    assert take.model == Model("demo", (Adapter("ink", 0.5),))
    assert [prompt.change.adapters for prompt in take.replayed] == [(), None]


def test_a_picture_goes_with_a_new_session_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "picture.png"
    with pytest.raises(FileNotFoundError, match=r"picture\.png"):
        take_of(StreamOptions(prompt="sun", picture=picture))
    picture.write_bytes(b"picture")
    assert take_of(StreamOptions(prompt="sun", picture=picture)).media == Media(picture=picture)
    assert capsys.readouterr().err.splitlines() == [OPENING_NOTE]
    for other in (StreamOptions(journal=picture, picture=picture), StreamOptions(resume="s", picture=picture)):
        with pytest.raises(OptionError, match="expected no --picture beside") as caught:
            picture_of(other)
        assert caught.value.code == "opening_conflict"


def test_first_message_is_checked_before_anybody_is_called() -> None:
    check_start(take_of(StreamOptions(prompt="sun")))
    with pytest.raises(ProtocolError) as caught:
        check_start(take_of(StreamOptions(prompt="sun", quality=101)))
    assert (caught.value.code, caught.value.field) == (ErrorCode.FIELD_RANGE, "quality")


def test_json_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("service.commands.stream.run_take", lambda take: REPORT)
    run_stream(StreamOptions(prompt="sun", json=True))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document = json.loads(out)
    assert document["switches"] == [
        {
            "prompt": "rain",
            "queued_ms": None,
            "applied_ms": None,
            "received_ms": None,
            "chunk": None,
            "shown_ms": None,
        }
    ]
    assert list(document) == [
        "frames",
        "seconds",
        "fps",
        "first_frame_ms",
        "chunks",
        "missing",
        "duplicated",
        "underruns",
        "switches",
        "discarded",
        "reconnects",
        "worker_restarts",
    ]
    run_stream(StreamOptions(prompt="sun"))
    assert capsys.readouterr().out == ""
