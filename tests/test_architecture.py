"""The architecture as tests: imports point one way, sizes stay small, some constructs are not used at all.

The exceptions are here and the table of rooms is in tests/rooms.py; the rules themselves are in
tests/source_rules.py and tests/import_rules.py. Each rule has a twin below that feeds it a text which breaks it.
"""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import source_rules as rules
from tests.import_rules import STANDARD, check_imports, imports_of
from tests.rooms import ROOMS
from tests.source_rules import Finding, Source, parse_source, read_sources

ROOT = Path(__file__).parent.parent
PRODUCT = read_sources(ROOT, ["cache", "models", "service", "client", "longtake.py"])
TESTS = read_sources(ROOT, ["tests"])
MODULES = frozenset(source.module for source in PRODUCT)

# Each line says why. The list may only get shorter: a test fails for a line that is no longer needed.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("environment", "service/config/loading.py"): "the one place that reads it",
    ("blanket except", "client/receiving.py"): "a task's boundary: whoever iterates must hear of what ended the reader",
    ("blanket except", "service/store/writer.py"): "a thread's boundary: what fails is told to whoever asked for it",
    ("blanket except", "models/tokenizer.py"): "the tokenizer's library raises the base class itself, and no other",
    ("blanket except", "service/worker/main.py"): "a process's boundary: last words, then the end",
    ("blanket except", "service/worker/media.py"): "a thread's boundary: one session's picture, not all of them",
    ("positional", "models/generator.py::Generator.restore"): "journal, latents, block: said so in the design",
    ("positional", "models/generator.py::Generator.rewind"): "as restore",
    ("positional", "models/generator.py::Generator.take_back"): "as restore",
    **{
        ("arguments", f"models/kernels/triton_forms.py::{name}"): "a kernel's pointers, strides and sizes are arguments"
        for name in ("_modulate_kernel", "_gate_kernel", "_store_kernel", "_turned", "_store")
    },
    ("positional", "service/worker/engine.py::Engine.restore"): "the seam has the engine's signatures",
    ("positional", "service/worker/engine.py::Engine.rewind"): "as above",
    ("positional", "service/worker/engine.py::Engine.take_back"): "as above",
    ("positional", "service/commands/generate.py::Engine.restore"): "as restore",
}
PRINTING = ("service/commands/", "service/cli.py", "models/train/", "client/examples/")

RULES: tuple[Callable[[Source], list[Finding]], ...] = (
    rules.check_file_length,
    rules.check_header,
    rules.check_arguments,
    rules.check_nesting,
    rules.check_global,
    rules.check_import_form,
    rules.check_module_state,
    rules.check_settings_default,
    rules.check_environment,
    rules.check_print,
    rules.check_blanket_except,
    rules.check_pickle,
    rules.check_comments,
)
TEST_RULES = (rules.check_file_length, rules.check_global, rules.check_comments, rules.check_skipped_tests)


def _unexcused(found: list[Finding]) -> list[str]:
    kept = [item for item in found if (item.rule, item.key) not in EXCEPTIONS]
    return [str(item) for item in kept if not (item.rule == "print" and item.key.startswith(PRINTING))]


def _apply(checks: tuple[Callable[[Source], list[Finding]], ...], sources: list[Source]) -> list[Finding]:
    return [item for source in sources for check in checks for item in check(source)]


# The tree keeps the rules


@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
def test_product_keeps_the_rule(check: Callable[[Source], list[Finding]]) -> None:
    assert _unexcused(_apply((check,), PRODUCT)) == []


def test_functions_are_short() -> None:
    assert _unexcused(rules.check_function_lengths(PRODUCT)) == []


@pytest.mark.parametrize("check", TEST_RULES, ids=lambda check: check.__name__)
def test_tests_keep_the_rule(check: Callable[[Source], list[Finding]]) -> None:
    assert _unexcused(_apply((check,), TESTS)) == []


def test_imports_point_one_way() -> None:
    found = [item for source in PRODUCT for item in check_imports(source, ROOMS, MODULES)]
    assert _unexcused(found) == []


def test_every_exception_is_needed() -> None:
    found = _apply(RULES, PRODUCT) + rules.check_function_lengths(PRODUCT)
    assert set(EXCEPTIONS) <= {(item.rule, item.key) for item in found}


def test_every_test_folder_is_a_package() -> None:
    folders = {file.parent for file in (ROOT / "tests").rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


# What is imported is declared, and what is declared is imported


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    # All but those that are for work on the product itself.
    used = [extra for name, extra in extras.items() if name not in ("test", "system", "dev")]
    requirements = sum(used, project["dependencies"])
    return {re.split(r"[<>=;\[ ]", requirement)[0] for requirement in requirements} - {"longtake"}


def test_dependencies_are_those_that_are_used() -> None:
    names = {
        "pillow": "PIL",
        "pyzmq": "zmq",
        "python-multipart": "python_multipart",
        "prometheus-client": "prometheus_client",
        "nvidia-ml-py": "pynvml",
        "huggingface-hub": "huggingface_hub",
        "opentelemetry-sdk": "opentelemetry",
        "opentelemetry-exporter-otlp-proto-http": "opentelemetry",
    }
    declared = {names.get(name, name) for name in _declared()}
    come_with_others = {
        "starlette": "fastapi",
        "pydantic_core": "pydantic",
        "httpx2": "huggingface_hub",
        "h11": "uvicorn",
        "triton": "torch",
        # Of no index: whoever wants FlashAttention 3 builds it beside the torch that is there.
        "flash_attn_interface": "torch",
    }
    come_with_others["tokenizers"] = "transformers"
    imported = {item.module.split(".")[0] for source in PRODUCT for item in imports_of(source, MODULES)}
    outside = imported - STANDARD - {module.split(".")[0] for module in MODULES}
    assert {come_with_others.get(name, name) for name in outside} == declared


# Importing has no effects


IMPORT_PROBE = """
import importlib, json, os, sys, threading
for name in {outside!r}:
    importlib.import_module(name)
seen, before = [], dict(os.environ)
def audit(event, args):
    opens_for_writing = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if opens_for_writing or event in ("subprocess.Popen", "os.fork", "socket.__new__", "os.mkdir"):
        seen.append(f"{{event}} {{args}}")
sys.addaudithook(audit)
for name in {modules!r}:
    importlib.import_module(name)
result = dict(effects=seen, environment=dict(os.environ) != before, threads=threading.active_count())
print(json.dumps(result | dict(torch="torch" in sys.modules)))
"""


def probe_imports(modules: list[str], *, outside: list[str], path: Path = ROOT) -> dict[str, object]:
    """Import `modules` in a fresh process, after the packages `outside`, and say what else happened."""
    code = IMPORT_PROBE.format(modules=modules, outside=outside)
    command = [sys.executable, "-B", "-W", "error", "-c", code]
    run = subprocess.run(command, cwd=path, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    *printed, last = run.stdout.splitlines()
    result: dict[str, object] = json.loads(last)
    return result | {"printed": printed}


NO_EFFECTS = {"effects": [], "environment": False, "threads": 1, "printed": []}


def test_importing_anything_does_nothing() -> None:
    importable = sorted(module for module in MODULES if not module.endswith("__main__"))
    outside = ["torch", "numpy", "PIL.Image", "av", "fastapi", "uvicorn", "websockets", "typer", "zmq.asyncio", "tqdm"]
    assert probe_imports(importable, outside=outside) == NO_EFFECTS | {"torch": True}


def test_web_side_imports_no_torch() -> None:
    rooms = (
        "service.api",
        "service.protocol",
        "service.cli",
        "service.launch",
        "service.channel",
        "client",
        "longtake",
    )
    light = sorted(module for module in MODULES if module.startswith(rooms))
    assert len(light) > len(rooms)
    assert probe_imports(light, outside=[])["torch"] is False


def test_import_probe_sees_effects(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import os, threading\nprint('hello')\nos.environ['NOISY'] = '1'\nopen('made', 'w').close()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    seen = probe_imports(["noisy"], outside=[], path=tmp_path)
    assert len(seen["effects"]) == 1 if isinstance(seen["effects"], list) else False
    assert (seen["environment"], seen["threads"], seen["printed"]) == (True, 2, ["hello"])


# Twins: each rule is tripped by a text that breaks it, and not by its neighbour that does not

HEADER = '"""One.\n\nTwo.\nThree.\n"""\n'


def _body(lines: int) -> str:
    return "def f():\n" + "    x = 1\n" * (lines - 1)


TRIPS: tuple[tuple[Callable[[Source], list[Finding]], str, str], ...] = (
    (rules.check_file_length, "x = 1\n" * 401, "x = 1\n" * 400),
    (rules.check_header, '"""Short."""\n', HEADER),
    (rules.check_header, "x = 1\n", HEADER),
    (rules.check_header, '"""' + "line\n" * 9 + '"""\n', '"""' + "line\n" * 8 + "    drawing\n" * 9 + '"""\n'),
    (rules.check_arguments, "def f(a, b, *, c, d, e, f, g, h): ...", "def f(a, b, *, c, d, e, f, g): ..."),
    (rules.check_arguments, "def f(a, b, c): ...", "def f(a, b, *, c): ..."),
    (rules.check_arguments, "class A:\n def f(self, a, b, c): ...", "class A:\n def f(self, a, b): ..."),
    (rules.check_arguments, "class A:\n def __init__(self, a, b, c): ...", "def __exit__(a, b, c): ..."),
    (rules.check_arguments, "def f_(a, b, c): ...", "def _f(a, b, c): ..."),
    (rules.check_arguments, "class A:\n @staticmethod\n def f(a, b, c): ...", "class A:\n def f(self, a, b): ..."),
    (rules.check_arguments, "def f(a, b, c: int): ...", "def f(a, b, c: torch.Tensor | None, d: Tensor): ..."),
    (
        rules.check_nesting,
        "def f():\n for a in b:\n  if a:\n   with c:\n    while d: pass",
        "def f():\n for a in b:\n  if a:\n   with c: pass\n  elif b:\n   with c: pass\n  elif c:\n   with d: pass",
    ),
    (
        rules.check_nesting,
        "def f():\n try: pass\n except E:\n  if a:\n   if b:\n    if c: pass",
        "def f():\n if a: pass",
    ),
    (rules.check_global, "def f():\n global a\n a = 1", "def f():\n nonlocal_ = 1"),
    (rules.check_import_form, "from a import *", "from a import b"),
    (rules.check_import_form, "from . import b", "import a"),
    (rules.check_module_state, "sessions = {}", "SESSIONS = {1: 2}"),
    (rules.check_module_state, "sessions: dict[str, int] = dict()", "sessions = ()\n__all__ = ['a']"),
    (rules.check_settings_default, "getattr(self.config, 'a', 1)", "getattr(node, 'a', 1); getattr(config, 'a')"),
    (rules.check_environment, "import os\nos.environ['A']", "import os\nos.path.join('a')"),
    (rules.check_environment, "from os import getenv", "from os import path"),
    (rules.check_print, "print('a')", "log.print('a')"),
    (rules.check_blanket_except, "try: pass\nexcept Exception: pass", "try: pass\nexcept ValueError: pass"),
    (rules.check_blanket_except, "try: pass\nexcept: pass", "try: pass\nexcept Exception:\n a()\n raise"),
    (
        rules.check_blanket_except,
        "try: pass\nexcept (A, BaseException) as e: raise B from e",
        "try: pass\nexcept A: pass",
    ),
    (rules.check_pickle, "read(weights_only=False)", "read(weights_only=True)"),
    (rules.check_pickle, "torch.load(a)", "torch.load(a, weights_only=True)"),
    (rules.check_pickle, "pickle.loads(a)", "json.loads(a)"),
    (rules.check_comments, "x = 1  # TO" + "DO: more", "x = 1  # all of it"),
    (rules.check_comments, "x = 1  # type: ignore", "x = 1  # type: ignore[misc]"),
    (rules.check_skipped_tests, "@pytest.mark.skipif(True)\ndef f(): ...", "@pytest.mark.system\ndef f(): ..."),
    (rules.check_skipped_tests, "pytest.importorskip('a')", "pytest.raises(A)"),
)


@pytest.mark.parametrize(("check", "bad", "good"), TRIPS)
def test_rule_is_tripped(check: Callable[[Source], list[Finding]], bad: str, good: str) -> None:
    assert len(check(parse_source("a/b.py", bad))) == 1
    assert check(parse_source("a/b.py", good)) == []


def test_all_rules_have_a_twin() -> None:
    assert {check for check, _, _ in TRIPS} == set(RULES) | set(TEST_RULES)


@pytest.mark.parametrize(("long", "short", "broken"), [(41, 19, 0), (41, 18, 1), (60, 19, 0), (61, 19, 1)])
def test_function_length_is_tripped(long: int, short: int, broken: int) -> None:
    """One in twenty may have up to 60 lines; none may have more."""
    text = _body(long) + _body(3) * short
    assert len(rules.check_function_lengths([parse_source("a/b.py", text)])) == broken


def test_function_length_counts_code_only() -> None:
    text = 'def f():\n    """One.\n\n    Two.\n    """\n    # why\n\n    return """a\n    b"""\n'
    assert rules.function_sizes(parse_source("a/b.py", text)) == [("a/b.py::f", 1, 3)]


@pytest.mark.parametrize(
    ("path", "text", "broken"),
    [
        ("cache/window.py", "import torch", 1),
        ("cache/kv.py", "import torch", 0),
        ("models/generator.py", "from models.train import world", 1),
        ("models/train/run.py", "from models import generator", 0),
        ("service/api/app.py", "def f():\n import torch.nn", 1),
        ("service/api/app.py", "from service import worker", 1),
        ("service/api/app.py", "from service.errors import ServiceError", 0),
        ("service/worker/loop.py", "import asyncio", 1),
        ("service/worker/loop.py", "import fastapi", 1),
        ("client/client.py", "from service.api.app import create_app", 1),
        ("elsewhere/a.py", "import os", 1),
    ],
)
def test_import_rule_is_tripped(path: str, text: str, broken: int) -> None:
    modules = MODULES | {"service.worker", "models.train"}
    assert len(check_imports(parse_source(path, text), ROOMS, modules)) == broken


def test_rooms_are_all_there() -> None:
    """A room that is gone leaves the table too."""
    roots = set(MODULES) | {module.rpartition(".")[0] for module in MODULES}
    assert [home.name for home in ROOMS if home.name not in roots] == []


def test_parsing_names_modules() -> None:
    assert parse_source("service/api/__init__.py", "").module == "service.api"
    assert ast.dump(parse_source("longtake.py", "").tree) == ast.dump(ast.Module([], []))
