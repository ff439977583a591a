"""Dashboards, rules and alerts: made from their tables, and of metrics that the service has."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.containers import ROOT
from tests.service.api.running import running
from tests.service.api.test_metrics import told_of_device_memory

MONITORING = ROOT / "deploy" / "monitoring"
NAME = re.compile(r"\blongtake_[a-z0-9_]+\b")
RECORDED = re.compile(r"record: (\S+)")


def load_dashboards() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_dashboards", MONITORING / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DASHBOARDS = load_dashboards()


@pytest.mark.parametrize("name", DASHBOARDS.DASHBOARDS)
def test_a_dashboard_is_as_its_table_says(name: str) -> None:
    """Red after a change of the table: `python deploy/monitoring/dashboards.py` writes the files again."""
    assert (DASHBOARDS.FOLDER / f"{name}.json").read_text("utf-8") == DASHBOARDS.text_of(name)


def expressions(document: dict[str, object]) -> list[str]:
    panels = document["panels"]
    assert isinstance(panels, list)
    return [target["expr"] for panel in panels for target in panel["targets"]]


def used() -> dict[str, set[str]]:
    """Names of metrics, by the file that asks for them; recorded ones by what they are recorded from."""
    rules = (MONITORING / "rules.yml").read_text("utf-8")
    found = {"rules.yml": {name for line in rules.splitlines() if "record:" not in line for name in NAME.findall(line)}}
    recorded = {name.partition(":")[2].partition(":")[0] for name in RECORDED.findall(rules)}
    alerts = re.sub(r"(summary|action): .*", "", (MONITORING / "alerts.yml").read_text("utf-8"))
    texts = {"alerts.yml": alerts}
    for path in sorted(DASHBOARDS.FOLDER.glob("*.json")):
        texts[path.name] = "\n".join(expressions(json.loads(path.read_text("utf-8"))))
    for name, text in texts.items():
        for rule in re.findall(r"instance:(longtake_\w+):\w+", text):
            assert rule in recorded, f"{name} asks for a rule of {rule} that is not recorded"
        found[name] = set(NAME.findall(re.sub(r"instance:longtake_\w+:\w+", "", text)))
    return found


def names_of(exposed: str) -> set[str]:
    """Every name under which a sample can be asked for, also of those that have none yet."""
    names: set[str] = set()
    for family in text_string_to_metric_families(exposed):
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {f"{family.name}{ending}" for ending in endings}
    return names


async def test_every_metric_that_is_asked_for_is_there() -> None:
    async with running() as service:
        await told_of_device_memory(service, 1)  # what only a GPU has
        exposed = service.state.services.metrics.render().decode()
    there = names_of(exposed)
    asked = used()
    assert set(asked) == {"rules.yml", "alerts.yml", "service.json", "engine.json"}
    assert {name: sorted(names - there) for name, names in asked.items()} == {name: [] for name in asked}
    assert "longtake_ready" in there


def test_alerts_say_what_to_do_and_each_is_tested() -> None:
    alerts = re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text("utf-8"))
    text = (MONITORING / "alerts.yml").read_text("utf-8")
    assert len(alerts) == len(set(alerts)) == text.count("action:") == text.count("severity:")
    tested = (MONITORING / "alerts.test.yml").read_text("utf-8")
    assert [alert for alert in alerts if alert not in tested] == []


def test_rules_are_of_files_that_compose_mounts() -> None:
    compose = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    mounted = re.findall(r"- \./(\S+?):", compose)
    assert [path for path in mounted if not Path(ROOT / "deploy" / path).exists()] == []
    for name in ("prometheus.yml", "rules.yml", "alerts.yml"):
        assert f"monitoring/{name}" in mounted
