"""A take directed on the real page, in a real browser, against the real service: what the pixels say of it.

Frames are known by marks that the service draws in its test mode (tests/e2e/pages.py). Order, completeness, ratios;
never seconds: on a busy machine the picture may come slowly, but not in another order and not faster than it is.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import av
import psutil
import pytest
from playwright.sync_api import Browser

from tests.e2e.cutting import CuttingProxy
from tests.e2e.pages import LIMIT, PROMPTS, Sight, StudioPage, in_order, studio_page

pytestmark = pytest.mark.system
BLOCK = 12


@pytest.fixture(name="studio")
def _studio(browser: Browser, address: str) -> Iterator[StudioPage]:
    with studio_page(browser, address) as studio:
        studio.open()
        yield studio
        studio.check_quiet()
        studio.page.evaluate("() => window.studio.take?.stop()")


def pace(sights: list[Sight]) -> float:
    """Media seconds for each second of the clock, over the middle of what was seen; gaps of chunks left out."""
    steps = [(after.at - before.at, after.mark.frame - before.mark.frame) for before, after in pairwise(sights)]
    within = [(seconds, frames) for seconds, frames in steps if frames > 0]
    return sum(frames for _, frames in within) / 16 / sum(seconds for seconds, _ in within)


def test_three_switches_are_seen_in_order_and_told(studio: StudioPage) -> None:
    studio.start()
    for number, text in enumerate(PROMPTS[1:], 1):
        studio.send(text)
        studio.until(f"window.studio.take.book.all[{number}].shown !== null", f"prompt {number} on screen")
    studio.until_shown(2)
    sights = studio.sights()
    assert in_order(sights)
    last = sights[-1].mark.sequence
    seen = {one.mark.sequence for one in sights}
    assert len(seen & set(range(1, last))) >= 0.8 * (last - 1), "chunks can be late, and a few be passed over for it"
    assert pace(sights) < 1.15
    assert (studio.inside("order.missing"), studio.inside("order.duplicated")) == (0, 0)
    # Everything that came was drawn, was counted as too late, or waits.
    came = BLOCK * (studio.inside("order.expected") - 1)
    told = studio.inside("facts")
    assert told["frames"] + told["dropped"] >= came - 3 * BLOCK
    assert [change["prompts"][0]["text"] for change in studio.inside("script.past")] == list(PROMPTS)
    log = studio.page.locator("#log li").all_inner_texts()
    assert len(log) == len(PROMPTS)
    assert all("on screen after" in line for line in log)
    assert studio.page.inner_text("#latency") not in ("–", "")


def test_a_pause_halts_and_a_rewind_takes_another_turn(studio: StudioPage) -> None:
    studio.start()
    studio.until_shown(6)
    studio.page.click("#pause")
    studio.until_state("Paused")
    halted = studio.inside("order.expected")
    studio.page.wait_for_timeout(2000)  # in which more than two chunks would come
    assert studio.inside("order.expected") == halted
    studio.page.click("#pause")
    studio.until_shown(2)
    before = studio.inside("showing.shown")
    position = studio.inside("position")
    studio.drag_playhead(3.0)
    studio.until_state("Another turn")
    studio.until(f"window.studio.take.showing.shown > {before} && window.studio.take.position < {position}", "a turn")
    studio.until_shown(2)
    assert in_order(studio.sights())
    document = json.load(urlopen(f"http://{studio.address}/v1/sessions/{studio.inside('id')}/journal", timeout=LIMIT))
    takes = [event["event"] for event in document["events"] if event["event"].get("type") == "take"]
    assert [take["take"] for take in takes if take["take"]] == [1]  # what a pause took back begins at its take again, 0
    assert takes[0]["block"] > 0


def test_keys_choose_a_moment_and_plan_a_prompt(studio: StudioPage) -> None:
    studio.start()
    studio.page.focus("#cursor")
    for _ in range(6):
        studio.page.keyboard.press("ArrowRight")
    assert studio.page.inner_text("#send") == "Plan"
    studio.page.keyboard.press("Enter")  # to the prompt box
    planned_at = studio.page.evaluate("() => window.studio.strip.chosen")
    studio.page.keyboard.type(PROMPTS[1])
    studio.page.keyboard.press("Enter")
    studio.until("document.querySelector('.change[data-cue]')", "a cue on the timeline")
    studio.until("window.studio.take.script.past.length === 2", "the planned prompt")
    at = studio.inside("script.past[1].at")
    assert planned_at - 1e-6 <= at <= planned_at + 2 * 0.75, "the first block that begins then or later"


def test_a_fork_plays_beside_its_parent(studio: StudioPage) -> None:
    studio.start()
    studio.until_shown(3)
    parent = studio.inside("id")
    studio.page.click("#fork")
    studio.until("window.studio.panes.length === 2 && window.studio.panes[1].take.showing.shown >= 0", "the fork")
    assert studio.inside("id") != parent
    studio.send(PROMPTS[1])
    studio.until("window.studio.take.script.past.length === 2", "the fork's own prompt")
    assert studio.page.evaluate("() => window.studio.panes[0].take.script.past.length") == 1
    studio.page.locator(".pane .choose").first.click()
    assert studio.inside("id") == parent
    studio.page.locator(".pane .shut").nth(1).click()
    studio.until_shown(1)


def test_the_recording_is_saved_with_its_chapters(studio: StudioPage, tmp_path: Path) -> None:
    studio.start()
    studio.send(PROMPTS[1])
    studio.until("window.studio.take.book.all[1].shown !== null", "the second prompt")
    studio.page.click("#stop")
    studio.until("!window.studio.take.live", "the end")
    with studio.page.expect_download(timeout=LIMIT * 1000) as download:
        studio.page.click("#save")
    download.value.save_as(tmp_path / "take.mp4")
    details = json.load(urlopen(f"http://{studio.address}/v1/sessions/{studio.inside('id')}", timeout=LIMIT))
    with av.open(tmp_path / "take.mp4", "r") as film:
        frames = [frame.time for frame in film.decode(video=0)]
        chapters = [chapter["metadata"]["title"] for chapter in film.chapters()]
    assert frames == [pytest.approx(number / 16) for number in range(details["frames"])]
    assert chapters == list(PROMPTS[:2])


def test_a_reload_goes_on_with_the_take(studio: StudioPage) -> None:
    studio.start()
    studio.send(PROMPTS[1])
    studio.until("window.studio.take.script.past.length === 2", "the second prompt")
    session, shown = studio.inside("id"), studio.inside("showing.shown")
    studio.page.reload()
    studio.until("window.studio?.take?.showing.shown >= 0", "the take after the reload")
    studio.until_shown(2)
    assert studio.inside("id") == session
    sights = studio.sights()
    assert in_order(sights)
    assert sights[0].mark.sequence in range(shown, shown + 8), "it goes on behind what was seen"
    assert studio.inside("order.missing") == 0
    assert [change["prompts"][0]["text"] for change in studio.inside("script.past")] == list(PROMPTS[:2])


def test_a_lost_connection_comes_back_by_itself(browser: Browser, address: str) -> None:
    with CuttingProxy(address) as proxy, studio_page(browser, proxy.address) as studio:
        studio.open()
        studio.start()
        proxy.cut()
        studio.until("document.getElementById('alert-words').textContent.includes('connection was lost')", "words")
        proxy.mend()
        studio.until("!window.studio.take.returning", "the connection again")
        studio.send(PROMPTS[1])
        studio.until("window.studio.take.book.all[1].shown !== null", "a prompt after it")
        assert in_order(studio.sights())
        assert studio.inside("order.missing") == 0
        assert studio.page.is_hidden("#alert")
        studio.page.click("#stop")
        studio.until("!window.studio.take.live", "the end")


def test_a_lost_worker_is_told_and_the_take_goes_on(studio: StudioPage, address: str) -> None:
    studio.start()
    studio.until_shown(1)
    port = int(address.rpartition(":")[2])
    service = next(child for child in psutil.Process().children(recursive=True) if listens(child, port))
    worker = next(child for child in service.children(recursive=True) if "service.worker.main" in child.cmdline())
    worker.kill()
    studio.until(
        "document.getElementById('alert-words').textContent.includes('engine is being started again')", "words"
    )
    studio.until("!window.studio.take.restarting", "another engine")
    studio.until_shown(2)
    assert in_order(studio.sights())
    assert (studio.inside("order.missing"), studio.inside("live")) == (0, True)


def listens(process: psutil.Process, port: int) -> bool:
    return any(one.laddr.port == port and one.status == "LISTEN" for one in process.net_connections("tcp"))
