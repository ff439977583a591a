"""A story of many prompts over minutes as one job of the demo model: `python -m tests.bench.story`.

24 prompts over 240 seconds by default, each another scene or time of day. The film has to have exactly the frames that
were asked for; what each of its frames shows is read by the detectors of models/train, and held against the prompt in
whose time it is. The last line is one JSON document.
"""

import argparse
import json
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import psutil
import torch

from models.load import LoadOptions, load_engine
from models.train.detectors import Detectors
from models.train.eval.cases import Case, cases
from models.train.eval.engines import codec_of
from models.train.eval.meter import to_pixels
from models.train.render import Renderer
from models.train.world import SCENE, SCENES, TIME, TIMES
from tests.bench.jobs import Client, listener_on
from tests.serving import running_service

SETTLING_SECONDS = 3.0
"""After a prompt, while its picture still comes about."""
READ_EVERY = 4


def storied(count: int) -> list[Case]:
    """Prompts of which none has the place of the one before it."""
    chosen: list[Case] = []
    for case in cases(count * 4):
        if not chosen or (case.truth[SCENE], case.truth[TIME]) != (chosen[-1].truth[SCENE], chosen[-1].truth[TIME]):
            chosen.append(case)
    return chosen[:count]


def make(client: Client, chosen: list[Case], *, seconds: float, store: Path) -> tuple[dict[str, object], Path]:
    """Creates the job and waits for it; what is known of it, and its film."""
    process = listener_on(client.port)
    every = seconds / len(chosen)
    prompts = [{"at": round(number * every, 3), "prompt": case.prompt} for number, case in enumerate(chosen)]
    began = time.perf_counter()
    job = client.ask("POST", "/v1/videos", {"prompts": prompts, "seconds": str(seconds), "seed": 1}, key="story")
    memory: list[tuple[int, int]] = []
    while job["status"] not in ("completed", "failed"):
        time.sleep(0.5)
        job = client.ask("GET", f"/v1/videos/{job['id']}")
        both = [process, *process.children(recursive=True)]
        memory.append((both[0].memory_info().rss, sum(one.memory_info().rss for one in both[1:])))
    assert job["status"] == "completed", job
    tenth = max(1, len(memory) // 10)
    said: dict[str, object] = {
        "seconds": seconds,
        "took_seconds": round(time.perf_counter() - began, 1),
        "frames_said": job["frames"],
        "api_memory_mib": [round(api / 2**20) for api, _ in memory[tenth::tenth]],
        "worker_memory_mib": [round(worker / 2**20) for _, worker in memory[tenth::tenth]],
    }
    return said, store / "jobs" / job["id"] / "video.mp4"


def read(film: Path, chosen: list[Case], *, seconds: float) -> dict[str, object]:
    """Frames and chapters of the film, and how many of the frames read show the scene of their prompt."""
    engine = load_engine("demo", LoadOptions())
    detectors = Detectors.calibrate(Renderer(), codec_of(engine))
    right, scenes, count, every = [0] * len(chosen), [Counter[int]() for _ in chosen], 0, seconds / len(chosen)
    read_of = [0] * len(chosen)
    with av.open(str(film)) as container:
        rate = container.streams.video[0].average_rate
        chapters = len(container.chapters())
        comment = container.metadata.get("comment", "")
        for picture in container.decode(video=0):
            at = count / float(rate or 16)
            number = min(int(at / every), len(chosen) - 1)
            if count % READ_EVERY == 0 and at >= number * every + SETTLING_SECONDS:
                with torch.inference_mode():
                    reading = detectors.read(to_pixels(np.stack([picture.to_ndarray(format="rgb24")])))
                scene = int(reading.scene[0])
                scenes[number][scene] += 1
                read_of[number] += 1
                right[number] += scene == chosen[number].truth[SCENE]
            count += 1
    shares = [part / whole if whole else 0.0 for part, whole in zip(right, read_of, strict=True)]
    most = [SCENES[found.most_common(1)[0][0]] if found else "" for found in scenes]
    wanted = [SCENES[case.truth[SCENE]] for case in chosen]
    return {
        "frames": count,
        "fps": float(rate or 0),
        "chapters": chapters,
        "comment": comment,
        "prompts": len(chosen),
        "scenes_read_right": sum(a == b for a, b in zip(most, wanted, strict=True)),
        "frames_of_the_right_scene": round(sum(right) / max(1, sum(read_of)), 3),
        "worst": round(min(shares), 2),
        "wrong": [
            {"prompt": case.prompt, "time": TIMES[case.truth[TIME]], "read": found}
            for case, found, asked in zip(chosen, most, wanted, strict=True)
            if found != asked
        ],
        "film_bytes": film.stat().st_size,
    }


def run(prompts: int, seconds: float) -> dict[str, object]:
    chosen = storied(prompts)
    with TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        options = ("--set", f"store_dir={store}", "--set", "disk_floor_bytes=0")
        with running_service(*options) as address, closing(Client(address)) as client:
            said, film = make(client, chosen, seconds=seconds, store=store)
            return said | read(film, chosen, seconds=seconds) | {"load": psutil.getloadavg()[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=240.0)
    options = parser.parse_args()
    print(json.dumps(run(options.prompts, options.seconds)))


if __name__ == "__main__":
    main()
