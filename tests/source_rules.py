"""Rules that every source file keeps, as functions from one parsed file to what it breaks.

Knows nothing of this project's rooms or exceptions (tests/test_architecture.py holds those). Reads syntax
trees and tokens only: nothing that is checked here is imported.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
BLOCK_STATEMENTS = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.TryStar,
    ast.With,
    ast.AsyncWith,
    ast.Match,
)
LAYOUT_TOKENS = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)
ARRAY_TYPES = frozenset({"Tensor", "ndarray", "NDArray"})
SETTINGS_NAMES = re.compile(r"(?:^|[_.])(?:config|settings|options|args|cfg)$")
UNFINISHED = re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: where it lies in the repository, its dotted name, its text and its syntax tree."""

    path: str
    module: str
    text: str
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule. `key` (file::function) is what an exception list names; `line` moves too easily."""

    rule: str
    key: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.key} (line {self.line}): {self.rule}: {self.message}"


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method, with its dotted name inside the file."""

    key: str
    node: FunctionNode
    is_method: bool


def parse_source(path: str, text: str) -> Source:
    parts = path.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return Source(path, ".".join(parts), text, ast.parse(text, filename=path))


def read_sources(root: Path, rooms: Iterable[str]) -> list[Source]:
    """Every Python file of `rooms` (folders or files under `root`), in order of path."""
    files: list[Path] = []
    for room in rooms:
        place = root / room
        files += [place] if place.is_file() else place.rglob("*.py")
    return [parse_source(file.relative_to(root).as_posix(), file.read_text("utf-8")) for file in sorted(files)]


def functions_of(source: Source) -> Iterator[Function]:
    """Every function of a file, nested ones included."""

    def walk(node: ast.AST, prefix: str, in_class: bool) -> Iterator[Function]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FunctionNode):
                name = f"{prefix}{child.name}"
                yield Function(f"{source.path}::{name}", child, in_class)
                yield from walk(child, f"{name}.", False)
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}{child.name}.", True)
            else:
                yield from walk(child, prefix, in_class)

    return walk(source.tree, "", False)


# Sizes


def code_lines(source: Source) -> frozenset[int]:
    """Numbers of the lines that hold code: not blank, not only a comment, not a docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type not in LAYOUT_TOKENS:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(source.tree):
        docstring = _docstring_node(node)
        if docstring is not None:
            lines.difference_update(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return frozenset(lines)


def _docstring_node(node: ast.AST) -> ast.Expr | None:
    body = getattr(node, "body", None)
    if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
        return None
    value = body[0].value
    return body[0] if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def function_sizes(source: Source) -> list[tuple[str, int, int]]:
    """Of each function: its key, its first line and how many lines of code it has."""
    lines = code_lines(source)
    sizes = []
    for function in functions_of(source):
        first, last = function.node.lineno, function.node.end_lineno or function.node.lineno
        sizes.append((function.key, first, sum(first <= line <= last for line in lines)))
    return sizes


def check_file_length(source: Source, *, limit: int = 400) -> list[Finding]:
    count = len(source.text.splitlines())
    if count <= limit:
        return []
    return [Finding("file length", source.path, limit + 1, f"{count} lines, at most {limit}")]


def check_function_lengths(
    sources: Iterable[Source], *, usual: int = 40, hard: int = 60, share: float = 0.05
) -> list[Finding]:
    """At most `usual` lines of code; up to `hard` in at most `share` of all functions."""
    sizes = [size for source in sources for size in function_sizes(source)]
    long = [size for size in sizes if size[2] > usual]
    found = []
    for key, line, count in long:
        if count > hard:
            found.append(Finding("function length", key, line, f"{count} lines of code, never more than {hard}"))
        elif len(long) > share * len(sizes):
            message = f"{count} lines, and more than {share:.0%} of all functions have over {usual}"
            found.append(Finding("function length", key, line, message))
    return found


def check_arguments(source: Source, *, limit: int = 7, positional: int = 2) -> list[Finding]:
    """At most `limit` arguments, and keyword-only after `positional` of them.

    `self` and `cls` do not count. Arrays do not count as positional, as q, k, v reads like mathematics; nor does the
    order matter in private functions and in methods whose order Python or ASGI gives.
    """
    found = []
    for function in functions_of(source):
        arguments = function.node.args
        by_place = [*arguments.posonlyargs, *arguments.args]
        if function.is_method and by_place and not _is_static(function.node):
            by_place = by_place[1:]
        total = len(by_place) + len(arguments.kwonlyargs)
        if total > limit:
            found.append(Finding("arguments", function.key, function.node.lineno, f"{total}, at most {limit}"))
        plain = [argument.arg for argument in by_place if not _is_array(argument)]
        if len(plain) > positional and _is_public(function.node.name):
            message = f"({', '.join(plain)}): keyword-only after the first {positional}"
            found.append(Finding("positional", function.key, function.node.lineno, message))
    return found


def _is_public(name: str) -> bool:
    return name == "__init__" or not name.startswith("_")


def _is_static(node: FunctionNode) -> bool:
    return any(isinstance(decorator, ast.Name) and decorator.id == "staticmethod" for decorator in node.decorator_list)


def _is_array(argument: ast.arg) -> bool:
    if argument.annotation is None:
        return False
    names = {
        node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        for node in ast.walk(argument.annotation)
    }
    return not ARRAY_TYPES.isdisjoint(names)


def check_nesting(source: Source, *, limit: int = 3) -> list[Finding]:
    """Compound statements inside each other in one function; an `elif` is no deeper than its `if`."""

    def deepest(body: list[ast.stmt], depth: int) -> tuple[int, int]:
        worst = (depth, body[0].lineno if body else 0)
        for statement in body:
            if isinstance(statement, BLOCK_STATEMENTS):
                worst = max(worst, *(deepest(inner, depth + 1) for inner in _bodies(statement)))
        return worst

    found = []
    for function in functions_of(source):
        depth, line = deepest(function.node.body, 0)
        if depth > limit:
            found.append(Finding("nesting", function.key, line, f"{depth} levels, at most {limit}"))
    return found


def _bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks under a statement, those of its `elif` branches and `case`s and handlers included."""
    if isinstance(statement, ast.If):
        yield statement.body
        chained = len(statement.orelse) == 1 and isinstance(statement.orelse[0], ast.If)
        yield from _bodies(statement.orelse[0]) if chained else [statement.orelse]
        return
    parts = [statement, *getattr(statement, "handlers", []), *getattr(statement, "cases", [])]
    for part in parts:
        for field in ("body", "orelse", "finalbody"):
            yield getattr(part, field, [])


# Constructs


def check_header(source: Source, *, lines: tuple[int, int] = (3, 8)) -> list[Finding]:
    """A module says at its top what it does and what it knows nothing of; an `__init__.py` may stay empty."""
    if source.path.endswith("__init__.py") and not source.text.strip():
        return []
    docstring = ast.get_docstring(source.tree)
    if docstring is None:
        return [Finding("header", source.path, 1, "no docstring")]
    count = sum(1 for line in docstring.splitlines() if not line.startswith(" "))  # drawings are indented
    least = 1 if source.path.endswith(("__init__.py", "__main__.py")) else lines[0]
    if least <= count <= lines[1]:
        return []
    return [Finding("header", source.path, 1, f"a docstring of {count} lines, not {least} to {lines[1]}")]


def check_global(source: Source) -> list[Finding]:
    return [_finding("global", source, node, "state belongs to an object") for node in _all(source, ast.Global)]


def check_import_form(source: Source) -> list[Finding]:
    stars = [node for node in _all(source, ast.ImportFrom) if any(alias.name == "*" for alias in node.names)]
    relative = [node for node in _all(source, ast.ImportFrom) if node.level]
    return [
        _finding("import form", source, node, "imports are absolute and name what they take")
        for node in stars + relative
    ]


def check_module_state(source: Source) -> list[Finding]:
    """No name of a module holds a list, dict or set, unless it is written as a constant."""
    found = []
    for statement in source.tree.body:
        for name in _assigned_names(statement):
            value = getattr(statement, "value", None)
            if _is_mutable(value) and not (name.isupper() or name.startswith("__")):
                found.append(_finding("module state", source, statement, f"{name} is mutable and not a constant"))
    return found


def _assigned_names(statement: ast.stmt) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_mutable(value: object) -> bool:
    if isinstance(value, ast.Call):
        return call_name(value) in {
            "list",
            "dict",
            "set",
            "defaultdict",
            "deque",
            "OrderedDict",
            "bytearray",
            "Counter",
        }
    return isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))


def check_settings_default(source: Source) -> list[Finding]:
    """`getattr(config, name, default)` hides a field that is not there; defaults stand in the config."""
    calls = [node for node in _all(source, ast.Call) if call_name(node) == "getattr" and len(node.args) == 3]
    return [
        _finding("getattr default", source, node, f"on {ast.unparse(node.args[0])}")
        for node in calls
        if SETTINGS_NAMES.search(ast.unparse(node.args[0]))
    ]


def check_environment(source: Source) -> list[Finding]:
    reads = {"os.environ", "os.getenv", "os.environb"}
    lines = [node.lineno for node in _all(source, ast.Attribute) if ast.unparse(node) in reads]
    for node in _all(source, ast.ImportFrom):
        lines += [node.lineno for alias in node.names if f"{node.module}.{alias.name}" in reads]
    return [Finding("environment", source.path, line, "read in service/config.py only") for line in lines]


def check_print(source: Source) -> list[Finding]:
    calls = [node for node in _all(source, ast.Call) if isinstance(node.func, ast.Name) and node.func.id == "print"]
    return [_finding("print", source, node, "only commands print") for node in calls]


def check_blanket_except(source: Source) -> list[Finding]:
    """A handler of everything swallows what nobody thought of; one that ends in a bare `raise` does not."""
    found = []
    for handler in _all(source, ast.ExceptHandler):
        names = {"everything"} if handler.type is None else {ast.unparse(name) for name in _handled(handler.type)}
        raises_again = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
        if names & {"everything", "Exception", "BaseException"} and not raises_again:
            found.append(_finding("blanket except", source, handler, f"catches {', '.join(sorted(names))}"))
    return found


def _handled(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def check_pickle(source: Source) -> list[Finding]:
    """Nothing unpickles what could be code: torch.load says `weights_only=True`."""
    found = []
    for node in _all(source, ast.Call):
        only_weights = {ast.unparse(word.value) for word in node.keywords if word.arg == "weights_only"}
        name = ast.unparse(node.func)
        if name in {"pickle.load", "pickle.loads"} or (name == "torch.load" and only_weights != {"True"}):
            found.append(_finding("pickle", source, node, name))
        elif only_weights - {"True"}:
            found.append(_finding("pickle", source, node, f"{name} with weights_only={only_weights.pop()}"))
    return found


def check_comments(source: Source) -> list[Finding]:
    """No unfinished work, and no type error silenced without naming it."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if UNFINISHED.search(token.string):
            found.append(Finding("unfinished", source.path, token.start[0], token.string))
        if re.search(r"type:\s*ignore(?!\[)", token.string):
            found.append(Finding("type ignore", source.path, token.start[0], "names no error code"))
    return found


def check_skipped_tests(source: Source) -> list[Finding]:
    """Tests that need more than Python are chosen by marker: a skipped test looks like a passed one."""
    banned = re.compile(r"pytest\.(?:skip|xfail|importorskip)$|mark\.(?:skip|skipif|xfail)$|^skipTest$")
    nodes = [node for node in _all(source, ast.Attribute) if banned.search(ast.unparse(node))]
    return [_finding("skipped test", source, node, ast.unparse(node)) for node in nodes]


def call_name(node: ast.Call) -> str:
    """The last word of what is called: `get` of `a.b.get(...)`."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _all(source: Source, kind: type[Node]) -> list[Node]:
    return [node for node in ast.walk(source.tree) if isinstance(node, kind)]


def _finding(rule: str, source: Source, node: ast.stmt | ast.expr | ast.ExceptHandler, message: str) -> Finding:
    return Finding(rule, source.path, node.lineno, message)
