import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from client.recording import TakeFiles
from client.report import SwitchReport
from models.journal import Journal, PromptEvent, TakeEvent, WeightedPrompt
from service.commands.generate import film, plan_of
from service.commands.options import GenerateOptions, OptionError
from service.commands.script import Script, script_of
from tests.service.commands.fake_engine import FRAMES, FakeEngine

NOTHING = TakeFiles()


def script(**options: object) -> Script:
    fields: dict[str, object] = {"prompt": "sun", "seed": 3}
    return script_of(GenerateOptions(**(fields | options)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "frames", "blocks"), [(1.0, 16, 2), (0.75, 12, 1), (0.001, 1, 1), (3.0, 48, 4), (10.0, 160, 14)]
)
def test_whole_blocks_are_made_and_trimmed(seconds: float, frames: int, blocks: int) -> None:
    engine = FakeEngine()
    report = film(engine, script(), seconds=seconds, files=NOTHING)
    stream = engine.streams[0]
    assert (report.frames, report.chunks) == (frames, blocks)
    assert (stream.blocks, stream.commits, stream.closed) == (blocks, blocks, True)
    assert (report.missing, report.duplicated) == (0, 0)


def events_of(engine: FakeEngine) -> list[tuple[int, str]]:
    journal = engine.streams[0].journal
    return [(event.block, event.prompts[0].text) for event in journal.events if isinstance(event, PromptEvent)]


@pytest.mark.parametrize(
    ("times", "blocks"),
    [
        (["0s"], [0]),
        (["0.75s"], [1]),
        (["0.76s"], [2]),
        (["1.5s"], [2]),
        (["2s", "1s"], [2, 3]),
        (["99s"], []),
    ],
)
def test_prompts_take_effect_at_the_first_block_that_begins_then(times: list[str], blocks: list[int]) -> None:
    engine = FakeEngine()
    film(engine, script(at=[f"{time} rain" for time in times]), seconds=4.0, files=NOTHING)
    assert events_of(engine) == [(0, "sun"), *[(block, "rain") for block in blocks]]


def test_report_tells_of_every_switch() -> None:
    engine = FakeEngine()
    report = film(engine, script(at=["1s rain", "1.1s fog", "99s snow"]), seconds=3.0, files=NOTHING)
    rain, fog, snow = report.switches
    assert (rain.prompt, rain.chunk, rain.received_ms) == ("rain", None, None)  # superseded before its block came
    assert (fog.prompt, fog.chunk) == ("fog", 2)
    assert fog.received_ms is not None
    assert (snow.prompt, snow.chunk, snow.received_ms) == ("snow", None, None)


def test_what_is_not_read_as_written_is_said_and_still_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """The same words as the service's warnings, one line a prompt, whether it is asked for once or twice."""
    engine = FakeEngine()
    long = "one two three four five six seven eight nine ten eleven"
    asked = script(prompt="a ZEPPELIN at sea", at=[f"1s {long}", "2s a ZEPPELIN at sea"])
    assert film(engine, asked, seconds=3.0, files=NOTHING).frames == 48
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("words", "prompt"))]
    assert told == [
        "words_unknown: The model does not know: ZEPPELIN.",
        "prompt_truncated: The prompt is read up to character 48 of 55.",
    ]


def test_a_replay_says_it_of_its_journal_too(capsys: pytest.CaptureFixture[str]) -> None:
    first = PromptEvent(block=0, prompts=(WeightedPrompt("fine"), WeightedPrompt("a UNICORN")))
    film(FakeEngine(), Journal(model="fake", seed=1, fingerprint="", events=(first,)), seconds=1.0, files=NOTHING)
    assert "The model does not know: UNICORN." in capsys.readouterr().err


def test_files_hold_the_take(tmp_path: Path) -> None:
    files = TakeFiles(video=tmp_path / "a.mp4", hashes=tmp_path / "a.sha256", journal=tmp_path / "a.json")
    engine = FakeEngine()
    film(engine, script(at=["1s rain"]), seconds=1.0, files=files)
    with av.open(str(tmp_path / "a.mp4")) as container:
        greys = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert np.allclose(greys, np.arange(16), atol=2.0)
    blocks = [np.arange(first, first + FRAMES, dtype=np.uint8).repeat(16 * 16 * 3) for first in (0, FRAMES)]
    hashes = [hashlib.sha256(block.tobytes()).hexdigest() for block in blocks]
    assert (tmp_path / "a.sha256").read_text().split() == hashes
    assert Journal.from_json((tmp_path / "a.json").read_text()) == engine.streams[0].journal


def test_journal_is_replayed_at_its_blocks() -> None:
    changes = (
        PromptEvent(block=0, prompts=(WeightedPrompt("sun"),)),
        PromptEvent(block=2, prompts=(WeightedPrompt("rain"), WeightedPrompt("fog", 2.0)), mode="cut", event_id="a"),
        TakeEvent(block=3, take=1),
        PromptEvent(block=9, prompts=(WeightedPrompt("snow"),), event_id="b"),
    )
    journal = Journal(model="fake", seed=11, fingerprint="other", events=changes)
    engine = FakeEngine()
    report = film(engine, journal, seconds=3.0, files=NOTHING)
    stream = engine.streams[0]
    assert stream.journal.seed == 11
    assert stream.journal.events == changes[:3]
    assert report.switches == (SwitchReport("rain + fog", chunk=2),)


def test_stream_is_closed_when_a_file_cannot_be_written(tmp_path: Path) -> None:
    engine = FakeEngine()
    with pytest.raises(OSError, match="absent"):
        film(engine, script(), seconds=1.0, files=TakeFiles(hashes=tmp_path / "absent" / "a.sha256"))
    assert engine.streams[0].closed


@pytest.mark.parametrize(("name", "value"), [("prompt", "sun"), ("at", ["4s rain"]), ("seed", 3)])
def test_journal_takes_nothing_beside_it(name: str, value: object, tmp_path: Path) -> None:
    options = GenerateOptions(journal=tmp_path / "a.json", **{name: value})  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=f"no --{name} beside") as caught:
        plan_of(options)
    assert (caught.value.code, caught.value.field) == ("prompt_conflict", name)


def test_journal_of_the_service_is_read(tmp_path: Path) -> None:
    """The service hands a journal out inside JSON, so that a client may write it in another layout."""
    first = PromptEvent(block=0, prompts=(WeightedPrompt("a"),))
    journal = Journal(model="fake", seed=1, fingerprint="f", events=(first,))
    path = tmp_path / "a.json"
    path.write_text(json.dumps(json.loads(journal.to_json()), indent=1))
    assert plan_of(GenerateOptions(journal=path)) == journal
