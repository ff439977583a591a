"""Direct a take from a script: prompts at their seconds, a blend, a cut, a rewind, and what each of them took.

    python -m client.examples.direct script.json

The script is a JSON list of [seconds, prompt] or [seconds, {prompt: weight, ...}], as in
[[2, "a blue star circles over the sea at night"], [4, {"snow": 2, "rain": 1}]].
Knows the client only. Invariant: a prompt is sent when its second is here, as a person would.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from client.examples.arguments import parser
from client.library import Client
from client.switch import Switch
from client.take import Take

Cue = tuple[float, str | dict[str, float]]


async def direct(take: Take, script: Sequence[Cue]) -> tuple[int, list[Switch]]:
    """How many frames came, and what became of each prompt."""
    waiting, switches, frames = sorted(script, key=lambda cue: cue[0]), list[Switch](), 0
    async for frame in take:
        frames += 1
        while waiting and frame.pts >= waiting[0][0]:
            _, prompt = waiting.pop(0)
            switches.append(await (take.prompt(prompt) if isinstance(prompt, str) else take.blend(prompt)))
    return frames, switches


async def run(options: argparse.Namespace) -> None:
    script: list[Cue] = [(2.0, "a blue star circles over the sea at night")]
    if options.script is not None:
        script = [(float(second), prompt) for second, prompt in json.loads(options.script.read_text())]
    client = Client(options.url, options.api_key)
    async with client.session(options.prompt, seconds=options.seconds, seed=options.seed) as take:
        frames, switches = await direct(take, script)
        print(f"take {take.id}: {frames} frames of {take.info.width}x{take.info.height}")
    for switch in switches:
        print(json.dumps(asdict(switch.report())))


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("script", nargs="?", type=Path, help="a file with the prompts")
    options.add_argument(
        "--seed", type=int, help="the same seed and the same prompts at the same blocks: the same video"
    )
    asyncio.run(run(options.parse_args(arguments)))


if __name__ == "__main__":
    main()
