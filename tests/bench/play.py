"""A long take on the real page: `python -m tests.bench.play --minutes 15`. Does its memory grow, does latency drift?

Knows the page and the browser's processes; nothing of how the page works. Invariants: figures of the first and the last
third of the time are compared, so that neither the start nor a single hiccup decides; the last line is JSON;
exits with 1 where memory or latency grew by more than half.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import psutil

from tests.e2e.pages import PROMPTS, StudioPage, chromium, studio_page
from tests.serving import running_service

LOOK_SECONDS = 5.0
PROMPT_SECONDS = 20.0
MOST_GROWTH = 1.5
SLACK_BYTES = 8 << 20
"""Growth that is no leak: heaps breathe."""
SLACK_MS = 500.0


@dataclass(slots=True)
class Figures:
    heap: list[int] = field(default_factory=list)
    renderers: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)
    """Seconds of video that are made and not shown."""


def renderer_bytes() -> int:
    """Resident memory of all processes of browsers that this process started and that show pages."""
    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            if "--type=renderer" in child.cmdline():
                total += child.memory_info().rss
        except psutil.Error:
            continue
    return total


def play(studio: StudioPage, minutes: float, *, say: Callable[[str], None]) -> Figures:
    figures = Figures()
    devtools = studio.page.context.new_cdp_session(studio.page)
    devtools.send("Performance.enable")
    studio.start()
    end = time.monotonic() + minutes * 60
    sent, next_prompt = 0, time.monotonic() + PROMPT_SECONDS
    while time.monotonic() < end:
        studio.page.wait_for_timeout(LOOK_SECONDS * 1000)
        if time.monotonic() >= next_prompt:
            sent += 1
            next_prompt += PROMPT_SECONDS
            studio.send(PROMPTS[sent % len(PROMPTS)])
            studio.until("window.studio.take.book.all.at(-1).shown !== null", "a prompt on screen")
            figures.latency.append(float(studio.inside("latency")))
        devtools.send("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
        figures.heap.append(int(metrics["JSHeapUsedSize"]))
        figures.nodes.append(int(metrics["Nodes"]))
        figures.renderers.append(renderer_bytes())
        figures.behind.append(float(studio.inside("madeUntil")) - float(studio.inside("position")))
        if len(figures.heap) % 12 == 0:
            said = f"{figures.heap[-1] / 2**20:.1f} MiB heap, {figures.renderers[-1] / 2**20:.0f} MiB renderers"
            say(f"{len(figures.heap) * LOOK_SECONDS / 60:.0f} min: {said}, {figures.nodes[-1]} nodes")
    return figures


def thirds(values: Sequence[float]) -> dict[str, float]:
    third = max(1, len(values) // 3)
    return {"first": round(median(values[:third]), 3), "last": round(median(values[-third:]), 3)}


def grew(values: Sequence[float], slack: float) -> bool:
    part = thirds(values)
    return part["last"] > MOST_GROWTH * part["first"] and part["last"] > part["first"] + slack


def main() -> None:
    parser = argparse.ArgumentParser(description="A long take on the real page")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--format", choices=["jpeg", "m4s"], default="jpeg")
    options = parser.parse_args()
    with (
        running_service("--set", "heartbeat_timeout=60") as address,
        chromium() as browser,
        studio_page(browser, address) as studio,
    ):
        studio.open()
        studio.page.evaluate("() => { window.marks.push = () => 0; }")  # the test's own record must not grow
        studio.page.select_option("#format", options.format)
        figures = play(studio, options.minutes, say=lambda words: print(words, file=sys.stderr, flush=True))
        facts = studio.inside("facts")
        missing = studio.inside("order.missing")
    answer = {
        "minutes": options.minutes,
        "format": options.format,
        "frames": facts["frames"],
        "dropped": facts["dropped"],
        "underruns": facts["underruns"],
        "missing": missing,
        "prompts": len(figures.latency),
        "heap_bytes": thirds(figures.heap),
        "renderer_bytes": thirds(figures.renderers),
        "nodes": thirds(figures.nodes),
        "latency_ms": thirds(figures.latency),
        "made_ahead_seconds": thirds(figures.behind),
    }
    print(json.dumps(answer))
    leaks = grew(figures.heap, SLACK_BYTES) or grew(figures.renderers, 8 * SLACK_BYTES)
    sys.exit(1 if leaks or grew(figures.latency, SLACK_MS) else 0)


if __name__ == "__main__":
    main()
