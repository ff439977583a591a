"""Pipe a take into ffmpeg, or any other program that reads raw frames or H.264 from its standard input.

    python -m client.examples.pipe | ffmpeg -i - -c copy take.mkv
    python -m client.examples.pipe --raw | ffmpeg -f rawvideo -pix_fmt rgb24 -s 96x96 -r 16 -i - -f mpegts udp://host:1234

Without `--raw` it is a fragmented MP4 that is not encoded again on the way.
Knows the client. Invariant: what is written is whole blocks, and nothing else goes to standard output.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import BinaryIO

from client.examples.arguments import parser
from client.library import Client
from client.requests import Media


async def pipe(options: argparse.Namespace, out: BinaryIO) -> int:
    """The number of frames that were written; a reader that goes away ends it."""
    frames = 0
    media = Media(format="jpeg" if options.raw else "m4s")
    async with Client(options.url, options.api_key).session(
        options.prompt, seconds=options.seconds, media=media, pacing=options.pacing
    ) as take:
        with contextlib.suppress(BrokenPipeError):
            async for chunk in take.chunks():
                head = chunk.init if frames == 0 else b""
                out.write(head + (chunk.numpy().tobytes() if options.raw else chunk.payload))
                out.flush()
                frames += chunk.num_frames
    return frames


def main(arguments: Sequence[str] | None = None) -> None:
    made = parser(__doc__)
    made.add_argument("--raw", action="store_true", help="RGB24 frames instead of H.264")
    made.add_argument("--pacing", choices=["realtime", "none"], default="realtime", help="as one watches, or as fast")
    options = made.parse_args(arguments)
    frames = asyncio.run(pipe(options, sys.stdout.buffer))
    print(f"{frames} frames", file=sys.stderr)


if __name__ == "__main__":
    main()
