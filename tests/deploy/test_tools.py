"""Files of deployment under the tools of their makers: hadolint, Compose, kubernetes-validate, promtool, shellcheck."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.deploy.containers import ROOT

pytestmark = pytest.mark.system
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
SHELL = re.compile(r"^#!/usr/bin/env bash|^#!/bin/(ba)?sh")


def run(*words: str | Path, folder: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [str(word) for word in words]
    variables = os.environ | environment
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False)


def test_the_dockerfile_passes_hadolint(tmp_path: Path) -> None:
    said = run(BIN / "hadolint", "deploy/Dockerfile")
    assert (said.returncode, said.stdout) == (0, "")
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN apt-get install gcc\n", "utf-8")
    assert run(BIN / "hadolint", tmp_path / "Dockerfile").returncode != 0


@pytest.mark.parametrize(
    ("profile", "services"),
    [
        ("", {"demo"}),
        ("h100", {"demo", "h100"}),
        ("monitoring", {"demo", "grafana", "prometheus"}),
        ("cluster", {"demo", "postgres"}),
    ],
)
def test_compose_understands_its_file(profile: str, services: set[str]) -> None:
    words: list[str | Path] = [BIN / "docker-compose", "-f", "deploy/compose.yaml"]
    words += ["--profile", profile] if profile else []
    said = run(*words, "config")
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    found: dict[str, Any] = yaml.safe_load(said.stdout)["services"]
    assert set(found) == services
    for service in found.values():
        # Nothing is for others than this machine unless somebody says so.
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", ()))
    demo = found["demo"]
    assert (demo["read_only"], demo["cap_drop"], demo["stop_grace_period"]) == (True, ["ALL"], "1m0s")
    if profile == "h100":
        devices = found["h100"]["deploy"]["resources"]["reservations"]["devices"]
        assert (devices[0]["driver"], devices[0]["count"]) == ("nvidia", 1)


def test_compose_publishes_to_others_only_when_told() -> None:
    words = (BIN / "docker-compose", "-f", "deploy/compose.yaml", "config")
    said = run(*words, LONGTAKE_PUBLISH="0.0.0.0", LONGTAKE_AUTHENTICATION="always")
    demo = yaml.safe_load(said.stdout)["services"]["demo"]
    assert demo["ports"][0]["host_ip"] == "0.0.0.0"
    assert demo["environment"]["LONGTAKE_AUTHENTICATION"] == "always"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text("utf-8")))


def test_manifests_pass_the_schemas_of_kubernetes(tmp_path: Path) -> None:
    """RayService is KubeRay's own kind: its pods are checked as pods, and what is beside it as it is."""
    (tmp_path / "single.yaml").write_text((DEPLOY / "kubernetes/single-gpu.yaml").read_text("utf-8"), "utf-8")
    ray, *beside = documents("rayservice.yaml")
    cluster = ray["spec"]["rayClusterConfig"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for number, group in enumerate(pods):
        metadata = group["template"]["metadata"] | {"name": f"ray-{number}"}
        beside.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": group["template"]["spec"]})
    (tmp_path / "ray.yaml").write_text(yaml.safe_dump_all(beside), "utf-8")
    wrong = documents("single-gpu.yaml")[4]
    del wrong["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong), "utf-8")
    for name, code in (("single.yaml", 0), ("ray.yaml", 0), ("wrong.yaml", 1)):
        said = run(BIN / "kubernetes-validate", "--strict", tmp_path / name)
        assert (name, said.returncode) == (name, code), said.stderr + said.stdout


def test_prometheus_understands_and_passes_its_rules() -> None:
    folder = DEPLOY / "monitoring"
    for words in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
    ):
        said = run("promtool", *words, folder=folder)
        assert said.returncode == 0, said.stderr + said.stdout


def test_scripts_pass_shellcheck(tmp_path: Path) -> None:
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    files = [ROOT / name for name in listed if (ROOT / name).is_file() and (ROOT / name).stat().st_size < 100_000]
    scripts = [path for path in files if SHELL.match(path.read_bytes()[:64].decode("utf-8", "replace"))]
    assert len(scripts) >= 3
    said = run(BIN / "shellcheck", *scripts)
    assert said.returncode == 0, said.stdout
    (tmp_path / "wrong").write_text("#!/bin/bash\nrm -rf $1/*\n", "utf-8")
    assert run(BIN / "shellcheck", tmp_path / "wrong").returncode != 0
