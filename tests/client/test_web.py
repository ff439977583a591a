"""The page as files: it works under a strict content policy, loads nothing from elsewhere, and can be used by ear.

What the scripts do is tested in tests/client/web with node, which the `system` test at the end runs.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "client" / "web"
TESTS = Path(__file__).parent / "web"
SCRIPTS = ["app.js", "player.js"]
NAMES_OF_SPECIFICATIONS = {"http://www.w3.org/2000/svg"}
VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Every element of a page, with the text right inside it."""

    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
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
    assert sum(file.stat().st_size for file in WEB.iterdir()) < 100_000


def test_nothing_is_inline(page: Page) -> None:
    assert page.all("style") == []
    assert [script.text.strip() for script in page.all("script")] == [""]
    for element in page.elements:
        handlers = [name for name in element.attributes if name == "style" or name.startswith("on")]
        assert handlers == [], f"<{element.tag}> has {handlers}"


def test_every_file_that_is_named_is_there_and_named_from_here(page: Page) -> None:
    named = [
        element.attributes[name] for element in page.elements for name in ("src", "href") if name in element.attributes
    ]
    files = [name for name in named if not name.startswith("#")]
    for script in SCRIPTS:
        imports = re.findall(r'from "([^"]+)"', (WEB / script).read_text(encoding="utf-8"))
        files += [name.removeprefix("./") for name in imports]
    assert set(files) == {file.name for file in WEB.iterdir()} - {"index.html"}


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


def test_logic_needs_no_document() -> None:
    text = (WEB / "player.js").read_text(encoding="utf-8")
    assert not re.search(r"\bdocument\.|\bwindow\.|WebSocket\(|performance\.|Date\.now", text)


def test_every_element_that_the_script_asks_for_is_there(page: Page) -> None:
    ids = page.ids()
    assert len(ids) == len(set(ids))
    asked = set(re.findall(r'element\("([\w-]+)"\)', (WEB / "app.js").read_text(encoding="utf-8")))
    assert asked <= set(ids)
    assert len(asked) > 10


def test_everything_can_be_used_by_ear(page: Page) -> None:
    labelled = {label.attributes["for"] for label in page.all("label")}
    controls = page.all("input", "select", "textarea")
    assert {control.attributes["id"] for control in controls} == labelled
    assert all(button.text.strip() for button in page.all("button"))
    assert all("alt" in image.attributes for image in page.all("img"))
    ids = set(page.ids())
    for element in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(element.attributes.get(name, "").split()) <= ids
    roles = {element.attributes["role"] for element in page.elements if "role" in element.attributes}
    assert {"status", "alert", "img"} <= roles
    assert page.all("html")[0].attributes["lang"] == "en"
    assert page.all("title")[0].text == "Longtake"


def test_every_mode_of_the_protocol_can_be_chosen_and_is_explained(page: Page) -> None:
    values = {option.attributes["value"] for option in page.all("option")}
    assert values == {"recache", "flush", "cut", "keep"}
    script = (WEB / "app.js").read_text(encoding="utf-8")
    assert all(re.search(rf"^  {mode}: \"", script, re.MULTILINE) for mode in values)


def test_what_the_server_warns_of_is_shown(page: Page) -> None:
    """As where a prompt has words that the model does not know; read out, too."""
    script = (WEB / "app.js").read_text(encoding="utf-8")
    assert '"session.warning": () => tell(message.message)' in script
    (place,) = [element for element in page.elements if element.attributes.get("id") == "state"]
    assert place.attributes.get("role") == "status" or place.attributes.get("aria-live") == "polite"


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
    light, dark = (WEB / "style.css").read_text(encoding="utf-8").split("prefers-color-scheme: dark")
    rules = light if scheme == "light" else light + dark
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rules))
    pairs = [("ink", "ground"), ("ink", "card"), ("quiet", "ground"), ("quiet", "card"), ("on-accent", "accent")]
    pairs += [("alert-ink", "alert-ground"), ("on-screen", "screen")]
    assert all(contrast(colours[text], colours[ground]) >= 4.5 for text, ground in pairs)
    assert contrast(colours["focus"], colours["ground"]) >= 3.0


@pytest.mark.system
def test_logic_of_the_page_in_node() -> None:
    node = shutil.which("node")
    assert node is not None, "expected node: it is a system package that `make test-system` needs"
    tests = sorted(str(file) for file in TESTS.glob("*.test.mjs"))
    result = subprocess.run([node, "--test", *tests], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout
    assert "# skipped 0" in result.stdout
    assert int(re.findall(r"# pass (\d+)", result.stdout)[0]) >= 26
