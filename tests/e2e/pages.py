"""The real page in a real browser, and what a test reads of it: words, figures, and marks in the picture's pixels.

Knows Playwright, the page's elements and the marks that a service with `mark_frames` draws; nothing of how the page
works. Invariants: every wait is for a condition, with a generous limit; what a browser complains of (errors, violations
of the content policy) is kept and has to be empty at the end.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from service.media.marks import MARK_COLUMNS, MARK_ROWS, Mark, mark_of, mark_pixels

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
LIMIT = 240.0
"""Seconds after which a test gives up on something that should come soon."""
PROMPTS = (
    "a red ball bounces over a grassy meadow by day",
    "a yellow star circles over the sea at sunset",
    "a purple box sways in the city at night",
    "a blue star bounces in the desert at sunset",
)
SETTINGS = ("--set", "heartbeat_timeout=60", "--set", "mark_frames=true")
"""Of a service whose frames are to be known by their pixels, on a machine that may be busy."""
WATCH = (
    f"const [SQUARE, COLUMNS, ROWS] = {[mark_pixels(96), MARK_COLUMNS, MARK_ROWS]};"
    + """
addEventListener("securitypolicyviolation", (event) => {
  (window.violations ??= []).push(`${event.violatedDirective} ${event.blockedURI}`);
});
window.marks = [];
const [WIDTH, HEIGHT] = [SQUARE * COLUMNS, SQUARE * ROWS];
const scratch = new OffscreenCanvas(WIDTH, HEIGHT).getContext("2d", { willReadFrequently: true });
function look() {
  const picture = document.querySelector(".pane canvas, .pane video");
  if (picture === null) return;
  scratch.clearRect(0, 0, WIDTH, HEIGHT);
  scratch.drawImage(picture, 0, 0, WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT);
  const { data } = scratch.getImageData(0, 0, WIDTH, HEIGHT);
  const bright = (x, y) => (data[((y * SQUARE + SQUARE / 2) * WIDTH + x * SQUARE + SQUARE / 2) * 4 + 1] > 127 ? 1 : 0);
  let mark = 0;
  for (let y = 0; y < ROWS; y += 1) for (let x = 0; x < COLUMNS; x += 1) mark = mark * 2 + bright(x, y);
  if (mark !== window.marks.at(-1)?.mark) window.marks.push({ mark, at: performance.now() });
}
function watch() {
  requestAnimationFrame(watch);
  look();
}
watch();
const { drawImage } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.drawImage = function (...given) {  // what the page itself paints: every frame of it
  drawImage.apply(this, given);
  if (this.canvas.closest?.(".pane")) look();
};
"""
)


@dataclass(frozen=True, slots=True, order=True)
class Sight:
    """A frame that was seen, by the mark in its pixels; `at` in seconds of the page's clock."""

    mark: Mark
    at: float = field(compare=False)


def in_order(sights: list[Sight]) -> bool:
    """Of two at least, each later in the take than the one before."""
    return len(sights) > 1 and all(before < after for before, after in pairwise(sights))


@dataclass(slots=True)
class StudioPage:
    """A page of the studio, with verbs."""

    page: Page
    address: str
    complaints: list[str]

    def until(self, expression: str, what: str = "") -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if self.page.evaluate(f"() => Boolean({expression})"):
                return
            self.page.wait_for_timeout(50)
        said = self.page.evaluate("() => document.body.innerText")
        raise AssertionError(f"not in time: {what or expression}; {self.complaints}; the page says:\n{said}")

    def open(self, path: str = "/?inside") -> None:
        self.page.goto(f"http://{self.address}{path}")
        self.until("document.querySelectorAll('#suggestions button').length > 0", "the model is known")

    def send(self, text: str) -> None:
        self.page.fill("#prompt", text)
        self.page.keyboard.press("Enter")

    def start(self, text: str = PROMPTS[0], *, seed: int = 7) -> None:
        """A take of which a frame is on screen."""
        self.page.fill("#seed", str(seed))
        self.send(text)
        self.until("window.studio.take?.showing.shown >= 0", "the first frame")

    def inside(self, expression: str) -> Any:
        """What the test mode lets one see: an expression of the take that is directed."""
        return self.page.evaluate(f"() => window.studio.take.{expression}")

    def until_shown(self, chunks: int) -> None:
        """So many chunks more are on screen."""
        until = self.inside("showing.shown") + chunks
        self.until(f"window.studio.take.showing.shown >= {until}", f"chunk {until}")

    def until_state(self, words: str) -> None:
        self.until(f"document.getElementById('state').textContent.includes({words!r})", words)

    def sights(self) -> list[Sight]:
        """Every frame that was seen, in the order in which it was; those before the first frame are left out."""
        found = [(mark_of(one["mark"]), one["at"] / 1000) for one in self.page.evaluate("() => window.marks")]
        return [Sight(mark, at) for mark, at in found if mark is not None]

    def drag_playhead(self, seconds: float) -> None:
        """Take the playhead with the pointer and let it go so many seconds farther left.

        It moves while the pointer is on its way, and on a busy machine may be gone when it is pressed: then once more.
        """
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            box, strip = self.page.locator("#cursor").bounding_box(), self.page.locator("#strip").bounding_box()
            assert box is not None
            assert strip is not None
            span = float(self.page.evaluate("() => window.studio.strip.scale.span"))
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            self.page.mouse.move(x, y)
            self.page.mouse.down()
            self.page.mouse.move(x - seconds / span * strip["width"], y, steps=4)
            self.page.mouse.up()
            if self.page.evaluate("() => window.studio.strip.chosen === null"):
                return
            self.page.evaluate("() => window.studio.strip.choose(null)")
        raise AssertionError("the playhead was never where the pointer was")

    def check_quiet(self) -> None:
        """Nothing was complained of, and the content policy was kept."""
        violations = self.page.evaluate("() => window.violations ?? []")
        assert (self.complaints, violations) == ([], [])


@contextmanager
def chromium() -> Iterator[Browser]:
    assert CHROMIUM.exists(), "expected chromium: it is a system package that `make test-system` needs"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def studio_page(browser: Browser, address: str, **options: Any) -> Iterator[StudioPage]:
    """A page in a context of its own, which is closed with it; `options` are Playwright's for contexts."""
    context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
    context.set_default_timeout(LIMIT * 1000)
    context.add_init_script(WATCH)
    complaints: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(f"{error}"))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    try:
        yield StudioPage(page, address, complaints)
    finally:
        context.close()
