"""Kill workers at random moments of a session: `python -m tests.bench.worker_kills --kills 200`.

Each session of 16 blocks is killed a few times; every hash, number and event has to be that of an undisturbed run.
The last line is one JSON document.
"""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

from tests.service.worker.killing import Survivor, random_kills

KILLS_A_SESSION = 4


async def run(kills: int, folder: Path) -> dict[str, int]:
    undisturbed = Survivor(folder / "undisturbed")
    await undisturbed.live([])
    done = different = sessions = 0
    while done < kills:
        survivor = Survivor(folder / str(sessions))
        await survivor.live(random_kills(min(KILLS_A_SESSION, kills - done), seed=sessions))
        done += survivor.restarts
        sessions += 1
        same = (survivor.record.rows, survivor.record.prompts) == (undisturbed.record.rows, undisturbed.record.prompts)
        different += not same
    return {"kills": done, "sessions": sessions, "different": different}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(run(options.kills, Path(folder)))))


if __name__ == "__main__":
    main()
