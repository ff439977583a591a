"""Pictures of every state of the studio: `python -m tests.bench.screenshots --out DIR`.

Knows the page as a person does; nothing of how it works. Invariants: each state is reached on the real page against the
real service, but for what the demo model has not got (a licence to accept, a key), which the browser is told; every
state is taken in light and dark, narrow and wide. Exits with 1 if a state cannot be reached.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Route

from tests.e2e.cutting import CuttingProxy
from tests.e2e.pages import PROMPTS, StudioPage, chromium, studio_page
from tests.serving import running_service

SIZES: Mapping[str, tuple[int, int]] = {"wide": (1440, 900), "narrow": (360, 780), "huge": (2560, 1440)}


@dataclass(slots=True)
class Scene:
    """What a state is reached with. `snap` takes the picture."""

    studio: StudioPage
    snap: Callable[[str], None]
    proxy: CuttingProxy


def begin(scene: Scene) -> None:
    scene.snap("01-idle")
    scene.studio.page.set_input_files("#picture", {"name": "still.png", "mimeType": "image/png", "buffer": PIXEL})
    scene.snap("02-picture")
    scene.studio.page.click("#picture-drop")


def run(scene: Scene) -> None:
    studio = scene.studio
    studio.start()
    studio.until_shown(3)
    studio.page.evaluate("() => { document.getElementById('transition').value = 4; }")
    studio.send(PROMPTS[1])
    studio.until("window.studio.take.script.past.length === 2", "the switch")
    studio.page.check("input[value=cut]")
    studio.send(PROMPTS[2])
    studio.until("window.studio.take.script.past.length === 3", "the cut")
    studio.until_shown(3)
    studio.page.check("input[value=recache]")
    studio.page.evaluate("() => window.studio.strip.choose(window.studio.take.position + 6)")
    studio.send("a red zeppelin in the snow at night")
    scene.snap("03-running")
    studio.page.evaluate("() => window.studio.strip.choose(2)")
    scene.snap("04-chosen")
    studio.page.evaluate("() => window.studio.strip.choose(null)")
    studio.page.click("#pause")
    studio.until_state("Paused")
    studio.page.check("#blend")
    studio.page.fill("#prompt", PROMPTS[0])
    studio.page.fill("#second", PROMPTS[3])
    scene.snap("05-paused-blend")
    studio.page.fill("#prompt", "")
    studio.page.uncheck("#blend")
    studio.page.click("#pause")


def share(scene: Scene) -> None:
    studio = scene.studio
    studio.page.click("#share")
    scene.snap("06-share")
    studio.page.keyboard.press("Escape")
    studio.page.click("#help")
    scene.snap("07-help")
    studio.page.keyboard.press("Escape")


def fork(scene: Scene) -> None:
    studio = scene.studio
    studio.page.click("#fork")
    studio.until("window.studio.panes[1]?.take.showing.shown >= 0", "the fork")
    studio.until_shown(2)
    scene.snap("08-fork")
    scene.proxy.cut()
    studio.until("window.studio.take.returning", "the loss")
    scene.snap("09-lost")
    scene.proxy.mend()
    studio.until("window.studio.panes.every((pane) => !pane.take.returning)", "the connection again")
    studio.page.locator(".pane .shut").nth(1).click()


def wait(scene: Scene) -> None:
    """The service has two places: two takes are going when a third asks."""
    with studio_page(scene.studio.page.context.browser or _none(), scene.studio.address) as other:
        other.open()
        other.start()
        with studio_page(scene.studio.page.context.browser or _none(), scene.studio.address, **_same(scene)) as third:
            third.open()
            third.send(PROMPTS[0])
            third.until("window.studio.take?.state === 'waiting'", "the waiting room")
            Scene(third, _snapper(third, scene), scene.proxy).snap("10-waiting")
            third.page.click("#stop")
        other.page.click("#stop")
        other.until("!window.studio.take.live", "the end")


def end(scene: Scene) -> None:
    studio = scene.studio
    studio.page.click("#stop")
    studio.until("!window.studio.take.live", "the end")
    scene.snap("11-ended")
    studio.page.click("#to-takes")
    studio.until("document.querySelectorAll('#cards .still img').length >= 2", "stills")
    scene.snap("12-takes")
    studio.page.locator("#cards .still").last.click()
    studio.until("document.querySelector('dialog video')?.readyState >= 2", "the replay")
    scene.snap("13-replay")
    studio.page.keyboard.press("Escape")
    studio.page.click("#to-batch")
    scene.snap("14-batch")
    studio.page.fill("#story li:last-child .at", "1")
    studio.page.fill("#job-seconds", "3")
    studio.page.click("#job-send")
    studio.until("document.querySelectorAll('#jobs li').length > 0", "a job")
    studio.until("document.querySelector('#jobs li .hint').textContent.includes('Ready')", "its film")
    scene.snap("15-jobs")


def ask(scene: Scene) -> None:
    """What the demo model does not ask for: a licence, a key."""
    studio = scene.studio

    def licence(route: Route) -> None:
        answer = route.fetch()
        models = answer.json()
        facts = {"licence": "Example-NC-1.0", "licence_url": "https://example.org/", "commercial_use": False}
        models["data"][0] |= facts | {"licence_accept_required": True}
        route.fulfill(response=answer, json=models)

    studio.page.route("**/v1/models", licence)
    studio.open()
    studio.send(PROMPTS[0])
    scene.snap("16-licence")
    studio.page.unroute("**/v1/models")
    problem: dict[str, Any] = {"code": "key_missing", "detail": "A key is needed, and none came."}
    studio.page.route("**/v1/models", lambda route: route.fulfill(status=401, body=json.dumps(problem)))
    studio.page.goto(f"http://{studio.address}/")
    studio.until("document.getElementById('dialog').open", "the dialog")
    scene.snap("17-key")


STATES = (begin, run, share, fork, wait, end, ask)


def _none() -> Browser:
    raise AssertionError("the page has no browser")


def _same(scene: Scene) -> dict[str, Any]:
    dark = scene.studio.page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    return {"viewport": scene.studio.page.viewport_size, "color_scheme": "dark" if dark else "light"}


def _snapper(studio: StudioPage, scene: Scene) -> Callable[[str], None]:
    """Pictures of another page under the names of the scene's."""
    taken = scene.snap

    def snap(name: str) -> None:
        page, scene.studio.page = scene.studio.page, studio.page
        try:
            taken(name)
        finally:
            scene.studio.page = page

    return snap


def take_pictures(browser: Browser, address: str, *, out: Path, scheme: str, size: tuple[str, tuple[int, int]]) -> int:
    """All states in one colour scheme and one size; how many pictures there are of it."""
    name, (width, height) = size
    count = 0
    with ExitStack() as stack:
        proxy = stack.enter_context(CuttingProxy(address))
        options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
        studio = stack.enter_context(studio_page(browser, proxy.address, **options))
        studio.open()

        def snap(state: str) -> None:
            nonlocal count
            count += 1
            studio.page.wait_for_timeout(300)  # fonts, figures and the chart come to themselves
            studio.page.screenshot(path=out / f"{state}-{name}-{scheme}.png", full_page=name == "narrow")

        scene = Scene(studio, snap, proxy)
        for state in STATES:
            state(scene)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures of every state of the studio")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--size", choices=SIZES, action="append", help="not all of them; repeat for more")
    parser.add_argument("--scheme", choices=["light", "dark"], action="append", help="not both")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sizes = [(name, SIZES[name]) for name in options.size or SIZES]
    schemes = options.scheme or ["light", "dark"]
    with running_service("--set", "max_sessions=2", "--set", "heartbeat_timeout=60") as address, chromium() as browser:
        for scheme in schemes:
            for size in sizes:
                count = take_pictures(browser, address, out=options.out, scheme=scheme, size=size)
                print(f"{count} pictures, {size[0]}, {scheme}", flush=True)


# A small picture to begin a take with: grey, 2 x 2.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a730000000f49444154789c639800060c096000002b5e"
    "05a15381bb710000000049454e44ae426082"
)

if __name__ == "__main__":
    main()
