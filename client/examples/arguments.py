"""What all examples take: where the server is, what to show, and for how long.

Knows argparse; nothing of the client. Invariant: every option has a default with which the example shows something.
"""

import argparse

PROMPT = "a red ball bounces over a grassy meadow by day"


def parser(description: str | None, *, seconds: float = 10.0) -> argparse.ArgumentParser:
    """A parser with the options that all examples have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--url", default="http://127.0.0.1:8000", help="the server")
    made.add_argument("--api-key", help="where the server asks for one")
    made.add_argument("--prompt", default=PROMPT, help="what to begin with")
    made.add_argument("--seconds", type=float, default=seconds, help="length of the video")
    return made
