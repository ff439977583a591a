"""deploy/README.md says what is so: its tables are computed, its commands are commands, its files are there."""

import importlib.util
import re
import shlex
from types import ModuleType

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.config import ServiceConfig
from service.errors import ErrorCode
from service.gpu.policy import XID_POLICY, Remedy
from service.store.schema import METADATA
from tests.deploy.containers import ROOT
from tests.readme import code_blocks, link_targets

README = ROOT / "deploy" / "README.md"
PAGE = README.read_text("utf-8")
COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
RUN = re.compile(r"docker compose -f (\S+)(?: --profile (\w+))? (\w+)(.*)")


def load_sizing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_sizing", ROOT / "deploy" / "sizing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SIZING = load_sizing()


def commands() -> list[str]:
    (block,) = (block for block in code_blocks(PAGE) if block.language == "sh")
    return block.text.splitlines()


@pytest.mark.parametrize("name", SIZING.tables())
def test_a_table_of_sizes_is_what_the_arithmetic_gives(name: str) -> None:
    """Red after a change of a figure: `python deploy/sizing.py` prints the tables."""
    assert f"<!-- {name} -->\n{SIZING.tables()[name]}\n<!-- /{name} -->" in PAGE


def test_waiting_is_that_of_erlang() -> None:
    # One place at load r: everybody who comes while it is taken waits, which is the share r of them.
    assert SIZING.waits(1, 0.8) == pytest.approx(0.8)
    # Two places: 2 r^2 / (1 + r).
    assert SIZING.waits(2, 0.8) == pytest.approx(2 * 0.64 / 1.8)
    assert SIZING.mean_wait(1, 0.5) == pytest.approx(SIZING.SESSION_SECONDS)


def test_the_way_to_a_public_service_has_ten_commands() -> None:
    assert len(commands()) == 10


def test_compose_commands_name_files_profiles_and_services_that_are_there() -> None:
    found = [match for match in map(RUN.search, commands()) if match]
    assert len(found) == 5
    services = set(
        re.findall(r"^  (\w+):$", COMPOSE.partition("\nservices:")[2].partition("\nsecrets:")[0], re.MULTILINE)
    )
    for match in found:
        file, profile, verb, rest = match.groups()
        assert (ROOT / file).is_file()
        assert profile is None or f"profiles: [{profile}]" in COMPOSE
        words = [word for word in shlex.split(rest) if not word.startswith("-")]
        named = words[:1] if verb == "run" else words
        assert set(named) <= services, match[0]


def test_the_programs_commands_have_the_options_that_are_given_to_them() -> None:
    given = [shlex.split(match[4]) for match in map(RUN.search, commands()) if match and match[3] == "run"]
    inside = [words[words.index("h100") + 1 :] for words in given]
    inside += [shlex.split(text)[1:] for text in re.findall(r"`(longtake\s[^`]+)`", PAGE)]
    assert len(inside) >= 8
    for words in inside:
        verbs = words[:2] if words[0] in ("keys", "config", "sessions") else words[:1]
        said = CliRunner().invoke(app, [*verbs, "--help"], terminal_width=200)
        assert said.exit_code == 0, words
        assert [word for word in words if word.startswith("--") and word not in said.output] == []


def test_settings_tables_and_codes_that_are_named_are_there() -> None:
    variables = {name.lower() for name in re.findall(r"LONGTAKE_([A-Z_]+)=", PAGE)} - {"h100_port"}
    assert variables <= set(ServiceConfig.model_fields)
    for name in (
        "drain_grace",
        "drain_timeout",
        "drain_handover",
        "resume_grace",
        "gpu_settle_seconds",
        "open_metrics",
    ):
        assert f"`{name}`" in PAGE
        assert name in ServiceConfig.model_fields
    for code in ("store_version_unknown", "out_of_memory", "worker_died", "store_failed"):
        assert f"`{code}`" in PAGE
        assert code in set(ErrorCode)
    assert "sessions" in METADATA.tables


def test_links_lead_to_files() -> None:
    assert [target for target in link_targets(PAGE) if not (README.parent / target).exists()] == []
    named = re.findall(r"^\| `([\w./-]+)`(?:, `([\w./-]+)`)? \| ", PAGE.partition("## From")[0], re.MULTILINE)
    files = [name for pair in named for name in pair if name]
    assert len(files) >= 8
    assert [name for name in files if not (README.parent / name).exists()] == []


def test_faults_of_the_table_are_those_of_the_policy() -> None:
    rows = re.findall(r"^\| the GPU reports Xid ([\d, or]+?)(?:, or is gone)? \|", PAGE, re.MULTILINE)
    told = [{int(number) for number in re.findall(r"\d+", row)} for row in rows]
    by_remedy = [{xid for xid, fault in XID_POLICY.items() if fault.remedy is remedy} for remedy in Remedy]
    assert told == by_remedy


def test_grace_periods_are_longer_than_a_drain() -> None:
    config = ServiceConfig()
    drain = config.drain_grace + config.drain_timeout
    (compose,) = re.findall(r"stop_grace_period: (\d+)s", COMPOSE)
    assert int(compose) > drain
    for name in ("single-gpu.yaml", "rayservice.yaml"):
        text = (ROOT / "deploy" / "kubernetes" / name).read_text("utf-8")
        said = {key.lower(): float(value) for key, value in re.findall(r"LONGTAKE_(\w+), value: \"([\d.]+)\"", text)}
        longest = said.get("drain_grace", config.drain_grace) + said.get("drain_timeout", config.drain_timeout)
        periods = [int(period) for period in re.findall(r"terminationGracePeriodSeconds: (\d+)", text)]
        assert periods
        assert min(periods) > longest
        variables = {name.lower() for name in re.findall(r"name: LONGTAKE_(\w+)", text)}
        assert variables <= set(ServiceConfig.model_fields)
