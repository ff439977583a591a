"""The page as files: it works under a strict content policy, loads nothing from elsewhere, and can be used by ear.

What the scripts do is tested in tests/client/web with node, which the `system` test at the end runs.
"""

import gzip
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from service.errors import ErrorCode
from service.protocol.client import PromptMode

WEB = Path(__file__).parents[2] / "client" / "web"
TESTS = Path(__file__).parent / "web"
SCRIPTS = sorted(file.name for file in WEB.glob("*.js"))
LATE = {"takes.js", "batch.js", "film.js", "help.js", "keep.js"}
"""Loaded when they are wanted, not with the page."""
WITH_A_TAKE = {"painter-worker.js", "painter.js", "buffer.js"}
"""Loaded when a picture is to be painted."""
PURE = ["wire.js", "buffer.js", "book.js", "words.js", "script.js", "ladder.js"]
NAMES_OF_SPECIFICATIONS = {"http://www.w3.org/2000/svg"}
VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    around: tuple[str, ...] = ()
    """The tags that it stands in."""


@dataclass
class Page(HTMLParser):
    """Every element of a page, with the text right inside it."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        around = tuple(other.tag for other in self.open)
        element = Element(tag, {name: value or "" for name, value in attrs}, around=around)
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.open[-1].text += data

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]

    def ids(self) -> list[str]:
        return [element.attributes["id"] for element in self.elements if "id" in element.attributes]


@pytest.fixture
def page() -> Page:
    page = Page()
    page.feed((WEB / "index.html").read_text(encoding="utf-8"))
    page.close()
    assert page.open == [], "every element is closed"
    return page


def test_page_is_small() -> None:
    """What the studio loads, as it goes over the wire; the parts that come later are as small."""
    first = [file for file in WEB.iterdir() if file.name not in LATE | WITH_A_TAKE]
    assert sum(len(gzip.compress(file.read_bytes())) for file in first) < 60_000
    assert sum(file.stat().st_size for file in first) < 140_000


def test_scripts_are_no_longer_than_other_files() -> None:
    for script in SCRIPTS:
        lines = (WEB / script).read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400, script
        assert lines[0].startswith("// "), f"{script} says what it does"
        assert any("Invariant" in line for line in lines[:6]), script


def test_nothing_is_inline(page: Page) -> None:
    assert page.all("style") == []
    assert [script.text.strip() for script in page.all("script")] == [""]
    for element in page.elements:
        handlers = [name for name in element.attributes if name == "style" or name.startswith("on")]
        assert handlers == [], f"<{element.tag}> has {handlers}"


def imported(script: str, *, late: bool) -> set[str]:
    """The files that a script names."""
    text = (WEB / script).read_text(encoding="utf-8")
    named = re.findall(r'await import\("\./([^"]+)"\)' if late else r'from "\./([^"]+)"', text)
    return set(named) | (set(re.findall(r'new Worker\("([^"]+)"', text)) if not late else set())


def test_every_file_that_is_named_is_there_and_named_from_here(page: Page) -> None:
    named = {
        element.attributes[name] for element in page.elements for name in ("src", "href") if name in element.attributes
    }
    files = {name for name in named if name and not name.startswith("#")}
    files |= {name for script in SCRIPTS for late in (True, False) for name in imported(script, late=late)}
    assert files == {file.name for file in WEB.iterdir()} - {"index.html"}


def test_parts_that_are_seldom_looked_at_come_later() -> None:
    first, found = {"app.js"}, {"app.js"}
    while found:
        found = {name for script in found for name in imported(script, late=False)} - first - {"painter-worker.js"}
        first |= found
    assert set(SCRIPTS) - first == LATE | WITH_A_TAKE
    assert {name for script in SCRIPTS for name in imported(script, late=True)} >= LATE


@pytest.mark.parametrize("file", sorted(file.name for file in WEB.iterdir()))
def test_no_address_of_elsewhere_and_none_from_the_root(file: str) -> None:
    text = (WEB / file).read_text(encoding="utf-8")
    addresses = set(re.findall(r"""(?:https?:|wss?:)?//[\w.-]+\.[\w./-]+""", text))
    assert addresses <= NAMES_OF_SPECIFICATIONS
    assert re.findall(r"""(?:src|href|fetch\(|url\()=?["']?/""", text) == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_use_nothing_that_the_policy_forbids(script: str) -> None:
    text = (WEB / script).read_text(encoding="utf-8")
    assert not re.search(
        r"\beval\(|new Function\(|innerHTML|insertAdjacentHTML|document\.write|setTimeout\(['\"]", text
    )


@pytest.mark.parametrize("script", PURE)
def test_logic_needs_no_document(script: str) -> None:
    text = (WEB / script).read_text(encoding="utf-8")
    assert not re.search(r"\bdocument\.|\bwindow\.\w|WebSocket\(|performance\.|Date\.now", text)


def test_every_element_that_the_scripts_ask_for_is_there(page: Page) -> None:
    ids = page.ids()
    assert len(ids) == len(set(ids))
    text = "".join((WEB / script).read_text(encoding="utf-8") for script in SCRIPTS)
    asked = set(re.findall(r'\b(?:element|input|button|say)\("([\w-]+)"', text))
    made = set(re.findall(r'id: "([\w-]+)"', text))  # by the scripts themselves
    assert asked <= set(ids) | made
    assert len(asked) > 40


def test_everything_can_be_used_by_ear(page: Page) -> None:
    labelled = {label.attributes.get("for", "") for label in page.all("label")}
    for control in page.all("input", "select", "textarea"):
        assert control.attributes.get("id") in labelled or "label" in control.around, control
    assert all("alt" in image.attributes for image in page.all("img"))
    ids = set(page.ids())
    for element in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(element.attributes.get(name, "").split()) <= ids
    roles = {element.attributes["role"] for element in page.elements if "role" in element.attributes}
    assert {"status", "alert", "img", "slider"} <= roles
    assert page.all("html")[0].attributes["lang"] == "en"
    assert page.all("title")[0].text == "Longtake"


def test_every_mode_of_the_protocol_can_be_chosen_and_is_explained(page: Page) -> None:
    radios = [element for element in page.all("input") if element.attributes.get("name") == "mode"]
    assert {radio.attributes["value"] for radio in radios} == set(get_args(PromptMode))
    script = (WEB / "studio.js").read_text(encoding="utf-8")
    assert all(re.search(rf"^  {mode}: \"", script, re.MULTILINE) for mode in get_args(PromptMode))


def test_every_code_that_is_worded_is_one_of_the_servers() -> None:
    text = (WEB / "words.js").read_text(encoding="utf-8")
    worded = set(re.findall(r"^  (\w+): \"", text, re.MULTILINE))
    assert worded <= {code.value for code in ErrorCode}
    assert len(worded) > 15


def test_style_knows_light_and_dark_and_shows_focus() -> None:
    style = (WEB / "style.css").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in style
    assert ":focus-visible" in style
    assert "outline: none" not in style


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: str) -> None:
    light, dark = (WEB / "style.css").read_text(encoding="utf-8").split("prefers-color-scheme: dark", 1)
    rules = light if scheme == "light" else light + dark
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rules))
    pairs = [("ink", "ground"), ("ink", "card"), ("quiet", "ground"), ("quiet", "card"), ("on-accent", "accent")]
    pairs += [("alert-ink", "alert-ground"), ("on-screen", "screen"), ("accent", "ground"), ("ink", "raised")]
    pairs += [("tally", "card")]
    assert all(contrast(colours[text], colours[ground]) >= 4.5 for text, ground in pairs)
    assert contrast(colours["focus"], colours["ground"]) >= 3.0


@pytest.mark.system
def test_logic_of_the_page_in_node(tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node is not None, "expected node: it is a system package that `make test-system` needs"
    for script in SCRIPTS:
        shutil.copy(WEB / script, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')  # a browser does not need to be told
    tests = sorted(str(file) for file in TESTS.glob("*.test.mjs"))
    environment = os.environ | {"WEB_MODULES": str(tmp_path)}
    command = [node, "--test", *tests]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout
    assert "# skipped 0" in result.stdout
    assert int(re.findall(r"# pass (\d+)", result.stdout)[0]) >= 40
