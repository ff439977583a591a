"""Options of the commands that look: at a server, or at a video.

Knows typer; nothing of sockets or pictures. Invariant: both end with one line of JSON where they are asked to.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

API_KEY = typer.Option(envvar="LONGTAKE_API_KEY", help="Where the service asks for a key.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopOptions:
    url: Annotated[str, typer.Option(help="Where the service is.")] = "http://127.0.0.1:8000"
    api_key: Annotated[str | None, API_KEY] = None
    every: Annotated[float, typer.Option(help="Seconds from one look to the next.")] = 2.0
    count: Annotated[int, typer.Option(help="Looks; 0 is until Ctrl-C.")] = 0
    json: Annotated[bool, typer.Option("--json", help="One line of JSON a look, and one look unless --count.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetOptions:
    video: Annotated[Path, typer.Argument(help="A video file.")]
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture [default: VIDEO.jpg].")] = None
    columns: Annotated[int, typer.Option(help="Stills in a row.")] = 5
    stills: Annotated[int, typer.Option(help="Stills in all.")] = 20
    width: Annotated[int, typer.Option(help="Pixels of a still.")] = 192
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False
