"""The real page in a real browser, and what a test reads of it: words, figures, and marks in the picture's pixels.

Knows Playwright and the page's elements; nothing of how the page works inside. Invariants: every wait is for a
condition, with a generous limit; what a browser complains of (errors, violations of the content policy) is kept and has
to be empty at the end.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

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
MARK_BITS = 24
WATCH = """
addEventListener("securitypolicyviolation", (event) => {
  (window.violations ??= []).push(`${event.violatedDirective} ${event.blockedURI}`);
});
window.marks = [];
const scratch = new OffscreenCanvas(96, 4).getContext("2d", { willReadFrequently: true });
function look() {
  requestAnimationFrame(look);
  const canvas = document.querySelector(".pane canvas");
  if (canvas === null) return;
  scratch.clearRect(0, 0, 96, 4);
  scratch.drawImage(canvas, 0, 0, 96, 4, 0, 0, 96, 4);
  const { data } = scratch.getImageData(0, 2, 96, 1);
  let mark = 0;
  for (let bit = 0; bit < 24; bit += 1) mark = mark * 2 + (data[(bit * 4 + 2) * 4] > 127 ? 1 : 0);
  if (mark !== window.marks.at(-1)?.mark) window.marks.push({ mark, at: performance.now() });
}
look();
"""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A frame that was seen, by its pixels: its chunk and its place in it. `at` in seconds of the page's clock."""

    sequence: int
    frame: int
    at: float = field(compare=False)


def read_mark(bits: int, at: float) -> Mark | None:
    """None where the check does not fit, as before the first frame."""
    number, check = divmod(bits, 16)
    digits = sum(int(digit, 16) for digit in f"{number:x}")
    sequence, frame = divmod(number, 16)
    return Mark(sequence, frame, at / 1000) if (digits + 5) % 16 == check else None


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

    def open(self, path: str = "/?marks") -> None:
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

    def marks(self) -> list[Mark]:
        """Every frame that was seen, in the order in which it was; those before the first frame are left out."""
        found = [read_mark(one["mark"], one["at"]) for one in self.page.evaluate("() => window.marks")]
        return [mark for mark in found if mark is not None]

    def forget_marks(self) -> None:
        self.page.evaluate("() => { window.marks.length = 0; }")

    def drag_playhead(self, seconds: float) -> None:
        """Take the playhead with the pointer and let it go so many seconds farther left."""
        box = self.page.locator("#cursor").bounding_box()
        strip = self.page.locator("#strip").bounding_box()
        assert box is not None
        assert strip is not None
        span = float(self.page.evaluate("() => window.studio.strip.scale.span"))
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x - seconds / span * strip["width"], y, steps=4)
        self.page.mouse.up()

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
