"""The fingerprint changes with everything that changes bits, and with nothing else."""

import platform
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from models import fingerprint
from models.fingerprint import Numerics, device_name, numerics


def here() -> Numerics:
    return numerics(
        model="demo",
        weights="abc",
        device=torch.device("cpu"),
        attention="auto",
        dtype="float32",
        latent_dtype="float16",
        decoder="linear",
    )


def test_it_is_the_same_twice() -> None:
    assert here() == here()
    assert here().fingerprint() == here().fingerprint()
    assert len(here().fingerprint()) == 16
    int(here().fingerprint(), 16)


@pytest.mark.parametrize("name", [field.name for field in fields(Numerics)])
def test_every_fact_is_in_it(name: str) -> None:
    facts = here()
    other: Any = 1 + (getattr(facts, name) or 0) if name in ("threads", "cudnn") else "other"
    changed = replace(facts, **{name: other})
    assert changed.fingerprint() != facts.fingerprint()


def test_facts_are_not_run_together() -> None:
    one, other = replace(here(), model="ab", weights="c"), replace(here(), model="a", weights="bc")
    assert one.fingerprint() != other.fingerprint()


def test_what_is_read_of_this_process() -> None:
    facts = here()
    assert facts.threads == torch.get_num_threads()
    assert facts.torch == str(torch.__version__)
    assert facts.instructions == torch.backends.cpu.get_cpu_capability()
    assert facts.device == device_name(torch.device("cpu")) == platform.machine()
    assert facts.cudnn is None, "not used on a CPU"


def test_threads_are_read_when_asked() -> None:
    before = here()
    torch.set_num_threads(before.threads + 1)
    assert here().threads == before.threads + 1
    assert here().fingerprint() != before.fingerprint()


def test_a_gpu_is_named_with_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(fingerprint, "_cudnn_version", lambda: 91002)
    facts = numerics(
        model="demo",
        weights="abc",
        device=torch.device("cuda", 0),
        attention="auto",
        dtype="bfloat16",
        latent_dtype="bfloat16",
        decoder="tiny",
    )
    assert (facts.device, facts.cudnn) == ("a GPU", 91002)
