"""What images are made of, as far as it can be read: requirements, constraints, stages, and what is copied."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from service.config import ServiceConfig
from tests.deploy.containers import ROOT, only_stages, stages_of

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PIN = re.compile(r"([\w.-]+)==(\S+)")


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONSTRAINTS = load("deploy_constraints", DEPLOY / "constraints.py")
SBOM = load("deploy_sbom", DEPLOY / "image" / "sbom.py")


def pins(path: Path) -> dict[str, str]:
    """Versions by name as package indexes compare names."""
    found = (PIN.fullmatch(line) for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}


# Constraints


def test_constraints_of_cuda_are_made_from_what_the_project_says_now() -> None:
    """Red after a change of pyproject.toml or constraints.txt: `python deploy/constraints.py` makes them again."""
    assert CONSTRAINTS.FILE.read_text("utf-8").startswith(CONSTRAINTS.HEAD.format(digest=CONSTRAINTS.digest()))


def test_constraints_of_cuda_pin_everything_and_as_it_is_tested() -> None:
    cuda, tested = pins(CONSTRAINTS.FILE), pins(ROOT / "constraints.txt")
    assert {name: version for name, version in cuda.items() if name in tested} == {
        name: tested[name] for name in cuda if name in tested
    }
    required = [Requirement(line) for line in CONSTRAINTS.wanted()]
    for requirement in required:
        assert requirement.specifier.contains(cuda[re.sub(r"[-_.]+", "-", requirement.name).lower()]), requirement
    assert {"torch", "triton", "xformers", "nvidia-ml-py", "ray"} <= set(cuda)


def test_requirements_follow_extras_that_name_extras() -> None:
    run = [sys.executable, str(DEPLOY / "image" / "requirements.py"), str(ROOT / "pyproject.toml")]
    cluster = subprocess.run([*run, "cluster"], capture_output=True, text=True, check=True).stdout.splitlines()
    extras = PROJECT["optional-dependencies"]
    own = {line for line in extras["cluster"] if not line.startswith("longtake")}
    assert set(cluster) == {*PROJECT["dependencies"], *own, *extras["postgres"]}
    assert len(cluster) == len(set(cluster))
    unknown = subprocess.run([*run, "nothing"], capture_output=True, text=True, check=False)
    assert unknown.returncode != 0


# The Dockerfile


def test_the_first_instruction_is_the_base() -> None:
    instructions = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    assert instructions[0].startswith("ARG BASE_IMAGE=")


def test_each_target_needs_only_its_own_stages() -> None:
    shared = ["", "base", "build"]
    for kind in ("cpu", "cuda"):
        assert list(stages_of(only_stages(DOCKERFILE, kind))) == [*shared, f"packages-{kind}", f"program-{kind}", kind]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_runs_as_a_user_by_number_and_looks_after_its_health(target: str) -> None:
    text = stages_of(DOCKERFILE)[target]
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "/readyz" in text
    for word in ("HEALTHCHECK", "STOPSIGNAL SIGTERM", "VOLUME", "LABEL", "ENTRYPOINT", "EXPOSE 8000"):
        assert f"\n{word}" in text, word


def test_torch_without_cuda_is_an_argument_that_compose_passes_on() -> None:
    assert re.search(r"^ARG TORCH_INDEX=$", stages_of(DOCKERFILE)["packages-cpu"], re.MULTILINE)
    assert "TORCH_INDEX" not in stages_of(DOCKERFILE)["packages-cuda"]
    assert "TORCH_INDEX: ${LONGTAKE_TORCH_INDEX:-}" in (DEPLOY / "compose.yaml").read_text("utf-8")
    assert "`LONGTAKE_TORCH_INDEX`" in (DEPLOY / "README.md").read_text("utf-8")


def test_settings_in_the_image_are_settings() -> None:
    named = {name.lower() for name in re.findall(r"LONGTAKE_([A-Z_]+)=", DOCKERFILE)}
    assert {"preset", "device", "store_dir", "host"} <= named
    assert named <= set(ServiceConfig.model_fields)


def test_everything_that_is_copied_is_there_and_every_package_is_copied() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    }
    assert [word for word in copied if not (ROOT / word).exists()] == []
    assert [word for word in copied if not any(word == path or word.startswith(f"{path}/") for path in let_in)] == []
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]["find"]
    assert {name.rstrip("*") for name in packages["include"]} <= copied


# What is in an image


def test_the_bill_of_materials_is_the_same_whenever_it_is_made() -> None:
    document = SBOM.document()
    assert json.dumps(document) == json.dumps(SBOM.document())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"])
    names = {component["name"].lower() for component in document["components"]}
    assert {"torch", "fastapi", "sqlalchemy"} <= names
    refs = [component["bom-ref"] for component in document["components"]]
    assert len(refs) == len(set(refs))
