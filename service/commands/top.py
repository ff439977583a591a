"""`longtake top`: what a running service does, looked at again and again.

Turns options into looks of `client.top` and looks into lines; knows nothing else. Invariant: with `--json` stdout has
one object a line and nothing else.
"""

import asyncio
import sys
import time

import typer

from client.http import Server
from client.top import Snapshot, lines_of, look
from service.commands.looking_options import TopOptions
from service.commands.options import OptionError

_HOME, _REST = "\x1b[H", "\x1b[J"


def run_top(options: TopOptions) -> None:
    """Until it was looked so often, or Ctrl-C."""
    for name, value, least in (("every", options.every, 0.0), ("count", options.count, 0)):
        if not least <= value < float("inf"):
            raise OptionError(f"expected {name} from {least} on, not {value}", code="field_range", field=name)
    asyncio.run(_looks(options))


async def _looks(options: TopOptions) -> None:
    server, before, number = Server(options.url, options.api_key), None, 0
    count = options.count or (1 if options.json else 0)
    while True:
        now = await look(server, now=time.time())
        _say(now, before, options)
        before, number = now, number + 1
        if number == count:
            return
        await asyncio.sleep(options.every)


def _say(now: Snapshot, before: Snapshot | None, options: TopOptions) -> None:
    if options.json:
        typer.echo(now.to_json())
        return
    lines = lines_of(now, before)
    if sys.stdout.isatty():
        typer.echo(_HOME + "".join(f"{line}\x1b[K\n" for line in lines) + _REST, nl=False)
    else:
        typer.echo("\n".join(lines))
