import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from service.cli import main
from service.commands.options import BenchOptions, GenerateOptions, LoadOptions, StreamOptions

ROOT = Path(__file__).parent.parent.parent


def run(arguments: list[str]) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


REFUSED = [
    (["generate"], "error: prompt_missing (prompt): "),
    (["generate", "--prompt", " "], "error: prompt_empty (prompt): "),
    (["generate", "--prompt", "x" * 2001], "error: prompt_too_long (prompt): "),
    (["generate", "--prompt", "a", "--at", "soon", "b"], "error: time_invalid (at): "),
    (["generate", "--prompt", "a", "--at", "4s"], "error: prompt_empty (at): "),
    (["generate", "--prompt", "a", "--seconds", "0"], "error: field_range (seconds): "),
    (["generate", "--prompt", "a", "--mode", "melt"], "error: mode_invalid (mode): "),
    (["generate", "--prompt", "a", "--sink", "melt"], "error: sink_invalid (sink): "),
    (["generate", "--prompt", "a", "--transition", "-1"], "error: transition_invalid (transition_chunks): "),
    (["generate", "--prompt", "a", "--preset", "nothing"], "error: model_unknown (model): "),
    (["generate", "--prompt", "a", "--random-weights", "--seed", "-1"], "error: seed_invalid (seed): "),
    (["generate", "--prompt", "a", "--random-weights", "--threads", "0"], "error: config_invalid (threads): "),
    (["generate", "--prompt", "a", "--random-weights", "--device", "abacus"], "error: device_invalid (device): "),
    (["stream"], "error: prompt_missing (prompt): "),
    (["stream", "--prompt", "a", "--seconds", "-3"], "error: field_range (seconds): "),
    (["stream", "--prompt", "a", "--format", "gif"], "error: field_choice (format): "),
    (["stream", "--prompt", "a", "--quality", "0"], "error: field_range (quality): "),
    (["stream", "--prompt", "a", "--pacing", "slow"], "error: field_choice (pacing): "),
    (["stream", "--prompt", "a", "--schedule", "nobody"], "error: field_choice (schedule): "),
    (["stream", "--prompt", "a", "--at", "4s", "b", "--mode", "melt"], "error: field_choice (mode): "),
    (["load", "--sessions", "0"], "error: field_range (sessions): "),
    (["load", "--switch-every", "0"], "error: field_range (switch_every): "),
    (["load", "--mode", "melt"], "error: field_choice (mode): "),
    (["bench", "--blocks", "0"], "error: field_range (blocks): "),
    (["bench", "--warmup", "-1"], "error: field_range (warmup): "),
    (["bench", "--preset", "nothing"], "error: model_unknown (model): "),
    (["serve", "--port", "70000"], "error: config_invalid: "),
    (["serve", "--set", "colour=red"], "error: config_invalid: "),
    (["serve", "--set", "port"], "error: config_invalid (set): "),
    (["config", "show", "--config", "absent.toml"], "error: config_invalid: "),
    (["train", "single", "--config", "absent.toml", "--out", "absent"], "error: io_error (absent.toml): "),
]


@pytest.mark.parametrize(("arguments", "begin"), REFUSED, ids=[" ".join(words)[:60] for words, _ in REFUSED])
def test_bad_input_is_one_line(arguments: list[str], begin: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(begin), err
    assert err.count("\n") == 1, err
    assert code == (1 if "io_error" in begin else 2)


@pytest.mark.parametrize(
    "line", ["nothing", "generate --nothing", "generate --seconds long", "bench --blocks x", "train", "train nothing"]
)
def test_unknown_options_are_usage_errors(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 2
    assert "error: " in capsys.readouterr().err.lower()


def test_unreachable_service_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stream", "--prompt", "a", "--url", "ws://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith("error: connect_failed: ")


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.commands.generate.run_generate", interrupt)
    assert run(["generate", "--prompt", "a"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options"),
    [("generate", GenerateOptions), ("stream", StreamOptions), ("load", LoadOptions), ("bench", BenchOptions)],
)
def test_options_reach_the_command(command: str, options: type, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(f"service.commands.{command}.run_{command}", seen.append)
    assert run([command, "--preset", "other", "--json"]) == 0
    assert seen == [options(preset="other", json=True)]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert capsys.readouterr().out.strip() == project["version"]


def test_help_is_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    commands = capsys.readouterr().out.partition("Commands:")[2]
    listed = [line.split()[0] for line in commands.splitlines() if line.strip()]
    assert listed == [
        "serve",
        "generate",
        "stream",
        "batch",
        "replay",
        "backup",
        "restore",
        "migrate",
        "render",
        "load",
        "top",
        "sheet",
        "bench",
        "eval",
        "download",
        "doctor",
        "verify",
        "train",
        "describe",
        "version",
        "config",
        "sessions",
        "keys",
    ]


def test_importing_the_command_imports_no_torch_and_no_server() -> None:
    code = "import sys, service.cli; print(sorted({'torch', 'numpy', 'av', 'fastapi', 'uvicorn'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"


def test_package_is_the_command() -> None:
    command = [sys.executable, "-m", "service", "version"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.count(".") == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_had_for_every_shell(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_LONGTAKE_COMPLETE", f"source_{shell}")
    said = subprocess.run([sys.executable, "-m", "service"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "longtake" in said.stdout


def test_completion_knows_commands_and_options() -> None:
    for words, found in (("longtake st", "stream"), ("longtake stream --sh", "--show")):
        environment = os.environ | {
            "_LONGTAKE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        said = subprocess.run(
            [sys.executable, "-m", "service"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
        )
        assert found in said.stdout.split()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["version", "--json"], 0),
        (["sheet", "absent.mp4"], 1),
        (["sheet", "absent.mp4", "--columns", "0"], 2),
        (["sheet", "absent.mp4", "-o", "sheet.gif"], 2),
        (["top", "--url", "http://127.0.0.1:9"], 1),
        (["top", "--every", "-1"], 2),
        (["nothing"], 2),
    ],
)
def test_exit_codes_tell_bad_input_from_what_could_not_be_done(words: list[str], code: int) -> None:
    assert run(words) == code
