"""What the page is made of, as a browser sees it: rules of accessibility, types, weight, the content policy, addresses.

Axe is put into the page by the test alone. Each state is looked at in light and in dark where its colours differ.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Response

from tests.e2e.npm_tools import install_tools
from tests.e2e.pages import PROMPTS, StudioPage, in_order, studio_page
from tests.e2e.prefix import behind_prefix
from tests.serving import ROOT, running_service

pytestmark = pytest.mark.system
MOST_BYTES = 100_000
BLOCK = 12


@pytest.fixture(scope="module", name="tools")
def _tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_tools(tmp_path_factory.mktemp("npm"))


def violations(studio: StudioPage, axe: str) -> list[str]:
    """What axe finds in the page as it is."""
    if not studio.page.evaluate("() => 'axe' in window"):
        studio.page.evaluate(axe)
    found = studio.page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
    return [f"{one['id']}: {node['html']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def test_types_of_the_scripts_hold(tools: Path, tmp_path: Path) -> None:
    options = {"allowJs": True, "checkJs": True, "strict": True, "noEmit": True, "target": "ES2022", "types": []}
    options |= {"module": "ES2022", "moduleResolution": "bundler", "lib": ["ES2023", "DOM", "DOM.Iterable"]}
    config = {"compilerOptions": options, "include": [f"{ROOT}/client/web/*.js"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    command = ["node", str(tools / "typescript" / "bin" / "tsc"), "-p", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.stdout == ""
    assert result.returncode == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing_in_any_state(browser: Browser, address: str, tools: Path, scheme: str, width: int) -> None:
    axe = (tools / "axe-core" / "axe.min.js").read_text("utf-8")
    with studio_page(browser, address, color_scheme=scheme, viewport={"width": width, "height": 800}) as studio:
        studio.open()
        found = violations(studio, axe)
        studio.start()
        studio.page.check("#blend")
        studio.page.fill("#second", PROMPTS[1])
        studio.until_shown(1)
        found += violations(studio, axe)
        studio.page.uncheck("#blend")
        studio.page.click("#share")
        found += violations(studio, axe)
        studio.page.keyboard.press("Escape")
        studio.page.click("#help")
        found += violations(studio, axe)
        studio.page.keyboard.press("Escape")
        studio.send(" ")  # which is refused, in words
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")
        found += violations(studio, axe)
        studio.page.click("#to-takes")
        studio.until("document.querySelectorAll('#cards .still img').length > 0", "a still")
        found += violations(studio, axe)
        studio.page.click("#to-batch")
        studio.until("document.getElementById('story') !== null", "the story")
        found += violations(studio, axe)
        assert found == []
        studio.check_quiet()


@pytest.mark.parametrize("width", [360, 800, 1280, 2560])
def test_nothing_is_wider_than_the_window(browser: Browser, address: str, width: int) -> None:
    with studio_page(browser, address, viewport={"width": width, "height": 900}) as studio:
        for place in ("studio", "takes", "batch"):
            studio.open(f"/?inside#{place}")
            studio.until(f"!document.getElementById('{place}').hidden", place)
            assert studio.page.evaluate("() => document.documentElement.scrollWidth") <= width
        studio.check_quiet()


def test_the_page_is_light(browser: Browser, address: str) -> None:
    """Bytes as they come over the wire, and nothing from elsewhere."""
    with studio_page(browser, address) as studio:
        answers: list[Response] = []
        studio.page.on("response", lambda answer: answers.append(answer))
        studio.open("/")
        loaded = sum(answer.request.sizes()["responseBodySize"] for answer in answers)
        assert 20_000 < loaded < MOST_BYTES
        files = [answer for answer in answers if "/v1/" not in answer.url]
        assert {answer.headers["content-encoding"] for answer in files} == {"gzip"}
        assert 2 * loaded < sum(len(answer.body()) for answer in answers), "it is compressed indeed"
        assert {answer.url.split("/")[2] for answer in answers} == {address}
        assert {answer.status for answer in answers} == {200}


def test_behind_a_path_prefix_all_of_it_works(browser: Browser, address: str, tmp_path: Path) -> None:
    with behind_prefix(address, "/some/where/", tmp_path) as outside, studio_page(browser, outside) as studio:
        studio.open("/some/where/?inside")
        studio.start()
        studio.send(PROMPTS[1])
        studio.until("window.studio.take.book.all[1].shown !== null", "a switch")
        studio.page.click("#share")
        assert "/some/where/#watch/" in studio.page.input_value("#share-link")
        studio.page.keyboard.press("Escape")
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")
        studio.page.click("#to-takes")
        studio.until("document.querySelectorAll('#cards .still img').length > 0", "a still")
        studio.check_quiet()


def test_a_viewer_watches_along_and_takes_direction(browser: Browser, address: str) -> None:
    with studio_page(browser, address) as director, studio_page(browser, address) as viewer:
        director.open()
        director.start()
        viewer.open(f"/?inside#watch/{director.inside('id')}")
        viewer.until("window.studio.take?.showing.shown >= 0", "the picture")
        assert viewer.page.is_disabled("#send")
        viewer.until("window.studio.take.script.past.length === 1", "the past")
        director.page.click("#share")
        director.page.click("text=Let a viewer take direction")
        viewer.page.click("#dialog-body .main")
        viewer.until("window.studio.take.directs", "direction")
        viewer.send(PROMPTS[1])
        viewer.until("window.studio.take.script.past.length === 2", "the viewer's prompt")
        director.until("!window.studio.take.directs", "the hand-over")
        viewer.page.click("#stop")
        viewer.until("!window.studio.take.live", "the end")


@pytest.mark.parametrize("painter", ["film", "page"])
def test_other_screens_show_every_chunk(browser: Browser, address: str, painter: str) -> None:
    """Film through Media Source Extensions, and pictures painted by the page itself."""
    with studio_page(browser, address) as studio:
        studio.open(f"/?inside&painter={painter}")
        studio.page.select_option("#format", "m4s" if painter == "film" else "jpeg")
        studio.start()
        assert studio.inside("info.format") == ("m4s" if painter == "film" else "jpeg")
        studio.until_shown(4)
        before, position = studio.inside("showing.shown"), studio.inside("position")
        studio.drag_playhead(2.0)
        studio.until(f"window.studio.take.showing.shown > {before}", "another turn")
        assert studio.inside("position") < position + 1
        studio.until_shown(2)
        assert studio.inside("live") is True
        assert in_order(studio.sights())
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")
        studio.check_quiet()


def test_every_frame_that_comes_is_drawn_once_or_counted(browser: Browser, address: str) -> None:
    """Where the page paints, the test reads the pixels after each stroke: nothing is left to chance."""
    with studio_page(browser, address) as studio:
        studio.open("/?inside&painter=page")
        studio.start()
        studio.until_shown(4)
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")
        came = BLOCK * studio.inside("order.expected")
        studio.until(f"(({{frames, dropped}}) => frames + dropped === {came})(window.studio.take.facts)", "all frames")
        drawn, sights = studio.inside("facts.frames"), studio.sights()
        assert in_order(sights)
        assert len(sights) == drawn
        assert {sight.mark.sequence for sight in sights} <= set(range(came // BLOCK))
        assert {sight.mark.frame for sight in sights} <= set(range(BLOCK))
        studio.check_quiet()


def test_the_picture_fills_the_screen_and_comes_back(browser: Browser, address: str) -> None:
    with studio_page(browser, address) as studio:
        studio.open()
        studio.start()
        studio.page.click(".pane .full")
        studio.until("document.fullscreenElement?.matches('.pane .screen')", "the full screen")
        studio.until_shown(1)
        studio.page.click(".pane .full")
        studio.until("document.fullscreenElement === null", "the page again")
        studio.page.evaluate("() => document.activeElement.blur()")
        studio.page.keyboard.press("f")
        studio.until("document.fullscreenElement !== null", "the full screen by its key")
        studio.page.evaluate("() => document.exitFullscreen()")
        studio.page.evaluate("() => { Element.prototype.requestFullscreen = () => Promise.reject(new Error('no')); }")
        studio.page.click(".pane .full")
        studio.until("document.getElementById('alert-words').textContent.includes('fill the screen')", "the refusal")
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")
        studio.check_quiet()


@pytest.mark.parametrize("format", ["jpeg", "m4s"])
def test_the_picture_floats_and_comes_back(browser: Browser, address: str, format: str) -> None:
    with studio_page(browser, address) as studio:
        studio.open()
        studio.page.click(".pane .pip")
        studio.until("document.getElementById('alert-words').textContent.includes('no picture yet')", "words")
        studio.page.select_option("#format", format)
        studio.start()
        studio.page.click(".pane .pip")
        studio.until("document.pictureInPictureElement?.readyState >= 2", "the small window")
        assert studio.page.evaluate("() => document.pictureInPictureElement.videoWidth") == 96
        studio.until_shown(1)
        studio.page.click(".pane .pip")
        studio.until("document.pictureInPictureElement === null", "the page again")
        refuse = "() => { HTMLVideoElement.prototype.requestPictureInPicture = () => Promise.reject(new Error('no')); }"
        studio.page.evaluate(refuse)
        studio.page.click(".pane .pip")
        studio.until("document.getElementById('alert-words').textContent.includes('window of its own')", "the refusal")
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")
        studio.check_quiet()


def test_a_script_is_read_planned_and_written(browser: Browser, address: str, tmp_path: Path) -> None:
    prompts = [{"at": 0, "prompt": PROMPTS[0]}, {"at": 3.0, "prompt": PROMPTS[1], "mode": "cut"}]
    (tmp_path / "script.json").write_text(json.dumps({"seed": 11, "prompts": prompts}))
    with studio_page(browser, address) as studio:
        studio.open()
        studio.page.set_input_files("#script-in", tmp_path / "script.json")
        studio.until_state("2 prompts is ready")
        studio.page.click("#send")
        studio.until("window.studio.take?.script.past.length === 2", "the planned prompt")
        assert (studio.inside("info.seed"), studio.inside("script.past[1].at")) == (11, 3.0)
        with studio.page.expect_download() as download:
            studio.page.click("#script-out")
        download.value.save_as(tmp_path / "out.json")
        written = json.loads((tmp_path / "out.json").read_text("utf-8"))
        assert [(one["at"], one["mode"]) for one in written["prompts"]] == [(0, "recache"), (3, "cut")]
        assert (written["seed"], written["size"]) == (11, "96x96")
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")
        studio.check_quiet()


def test_a_picture_that_is_dropped_begins_the_take(browser: Browser, address: str) -> None:
    drop = """async () => {
      const canvas = new OffscreenCanvas(64, 64);
      canvas.getContext("2d").fillRect(0, 0, 64, 64);
      const file = new File([await canvas.convertToBlob()], "still.png", { type: "image/png" });
      const data = new DataTransfer();
      data.items.add(file);
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    with studio_page(browser, address) as studio:
        studio.open()
        studio.page.evaluate(drop)
        assert studio.page.is_visible("#picture-seen")
        studio.start()
        journal = studio.inside("id")
        found = studio.page.evaluate(f"async () => (await fetch('v1/sessions/{journal}/journal')).json()")
        assert "opening" in {event["event"]["type"] for event in found["events"]}
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")
        studio.check_quiet()


def test_where_a_key_is_needed_the_page_asks_for_it_once(browser: Browser, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "service", "keys", "create", "--tenant", "films", "--store", str(store)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    settings = ("--set", "authentication=always", "--set", f"store_dir={store}", "--set", "heartbeat_timeout=60")
    with running_service(*settings) as address, studio_page(browser, address) as studio:
        studio.page.goto(f"http://{address}/?inside")
        studio.page.fill("#key", "wrong")
        studio.page.keyboard.press("Enter")
        studio.until("document.getElementById('dialog-body').textContent.includes('not known')", "the refusal")
        studio.page.fill("#key", made.stdout.strip())
        studio.page.keyboard.press("Enter")
        studio.until("document.querySelectorAll('#suggestions button').length > 0", "the model")
        studio.start()
        studio.page.reload()
        studio.until("window.studio?.take?.showing.shown >= 0", "the take after the reload")
        studio.page.click("#to-takes")
        studio.until("document.querySelectorAll('#cards .still img').length > 0", "a still")
        assert all("401" in complaint for complaint in studio.complaints)
        studio.page.click("#to-studio")
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")


def test_a_story_is_made_as_a_job_and_replayed(browser: Browser, address: str) -> None:
    with studio_page(browser, address) as studio:
        studio.open("/?inside#batch")
        studio.until("document.getElementById('story') !== null", "the story")
        studio.page.fill("#story li:first-child .text", PROMPTS[0])
        studio.page.fill("#story li:last-child .text", PROMPTS[1])
        studio.page.fill("#story li:last-child .at", "9")
        studio.page.fill("#job-seconds", "2")
        studio.page.click("#job-send")
        studio.until("document.getElementById('alert-words').textContent.includes('9 s')", "why it is refused")
        studio.page.fill("#story li:last-child .at", "1")
        studio.page.click("#job-send")
        studio.until("document.querySelector('#jobs li .hint')?.textContent.includes('Ready')", "the film")
        studio.page.click("#jobs li button >> text=Replay")
        studio.until("document.querySelector('dialog video')?.duration > 1.9", "the replay")
        assert studio.page.evaluate("() => document.querySelector('dialog video').duration") == pytest.approx(
            2.0, abs=0.07
        )
        studio.page.keyboard.press("Escape")
        studio.page.click("#jobs li button >> text=Delete")
        studio.until("document.querySelectorAll('#jobs li').length === 0", "no job any more")
        assert all("422" in complaint for complaint in studio.complaints)
