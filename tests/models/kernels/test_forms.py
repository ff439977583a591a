"""The fused operations: each form against the plain one, and the plain one against what the transformer computes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models.kernels.forms import LayerMemory, PlainOps, Turn
from models.rope import Rotation, rotate
from models.transformer import RMSNorm, gated, modulate
from tests.models.kernels.held_equal import DTYPES, SHAPES, draw

ROOT = Path(__file__).parents[3]
LIMITS = {"float32": 1e-4, "bfloat16": 2e-2}
RESULTS = 2 + 3 * 2 + 3
TRITON = importlib.util.find_spec("triton") is not None


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    forms = ["lean", "triton"] if TRITON else ["lean"]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.models.kernels.held_equal", *forms],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told: list[dict[str, Any]] = json.loads(ran.stdout.splitlines()[-1])
    return told


def test_every_form_equals_the_plain_one(found: list[dict[str, Any]]) -> None:
    forms = {"lean", "triton"} if TRITON else {"lean"}
    assert {item["ops"] for item in found} == forms
    assert len(found) == len(forms) * len(SHAPES) * len(DTYPES) * RESULTS
    assert [item for item in found if not item["apart"] <= LIMITS[item["dtype"]]] == []
    assert any(item["apart"] > 0 for item in found), "nothing was compared with itself"


def test_values_are_moved_and_not_computed(found: list[dict[str, Any]]) -> None:
    assert {item["apart"] for item in found if item["what"] == "values"} == {0.0}


def test_the_plain_form_is_what_the_transformer_computes() -> None:
    x, update, shift, scale = draw(1, 2, 6, 8), draw(2, 2, 6, 8), draw(3, 2, 3, 8), draw(4, 2, 3, 8)
    ops, norm = PlainOps(), RMSNorm(8, 1e-6)
    assert torch.equal(ops.modulate(x, shift, 1 + scale, 1e-6), modulate(x, shift, scale, 1e-6))
    assert torch.equal(ops.gate(x, update, scale), gated(x, update, scale))
    assert torch.equal(ops.norm(x, norm.weight, 1e-6), norm(x))
    angles = draw(5, 6, 1, 2)
    turn = Turn(angles.cos(), angles.sin(), torch.tensor([9, 8, 7, 3, 4, 5]))
    memory = LayerMemory(torch.zeros(2, 10, 2, 4), torch.zeros(2, 10, 2, 4))
    qkv = torch.stack((x, update, x), dim=2)
    queries = ops.store(qkv, torch.ones(2, 8), turn=turn, memory=memory, eps=1e-6)
    turned = rotate(norm(x).view(2, 6, 2, 4), Rotation(angles.cos(), angles.sin()))
    assert torch.equal(queries, turned)
    assert torch.equal(memory.values_BTHD[:, turn.slots_N], x.view(2, 6, 2, 4))
    assert torch.equal(memory.keys_BTHD[:, [0, 1, 2, 6]], torch.zeros(2, 4, 2, 4))
