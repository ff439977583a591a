"""A load test: many takes at once, each watched and directed, and how the server bore it.

    python -m client.examples.load --sessions 8 --seconds 30

`longtake load` does the same from the command line; this is how a program does it, to change it as it likes.
Knows the client. Invariant: a take that is refused is counted and does not end the others.
"""

import asyncio
from collections.abc import Sequence

from client.connection import ClientOptions
from client.examples.arguments import parser
from client.load import LoadOptions, run_load


def main(arguments: Sequence[str] | None = None) -> None:
    made = parser(__doc__, seconds=30.0)
    made.add_argument("--sessions", type=int, default=4)
    made.add_argument("--switch-every", type=float, default=5.0, help="seconds from one prompt of a take to its next")
    made.add_argument("--later-prompt", action="append", help="instead of those that the server suggests; repeat it")
    options = made.parse_args(arguments)
    load = LoadOptions(
        sessions=options.sessions,
        seconds=options.seconds,
        url=options.url,
        switch_every=options.switch_every,
        prompts=(options.prompt, *options.later_prompt) if options.later_prompt else (),
        client=ClientOptions(api_key=options.api_key),
    )
    report = asyncio.run(run_load(load))
    print(f"{report.completed} of {report.sessions} takes, {report.fps_total:.1f} frames a second in all")
    print(
        f"first frame after {report.first_frame_ms.p50} ms, prompts received after {report.switch_received_ms.p50} ms"
    )


if __name__ == "__main__":
    main()
