"""The options of `longtake keys` and `longtake describe`.

Knows typer; nothing of stores or keys. Invariant: what is not given is not limited.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_STORE = typer.Option(help="Folder of the store [default: the service's].")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCreateOptions:
    tenant: Annotated[str, typer.Option(help="Whose it is; tenants do not see each other's sessions and jobs.")]
    name: Annotated[str, typer.Option(help="What it is for, to tell it from others.")] = ""
    scope: Annotated[
        list[str] | None,
        typer.Option(help="sessions, sessions:read, videos, videos:read, metrics, admin [default: sessions, videos]."),
    ] = None
    sessions: Annotated[int | None, typer.Option(help="Most sessions at once.")] = None
    jobs: Annotated[int | None, typer.Option(help="Most jobs that are not finished.")] = None
    gpu_seconds: Annotated[float | None, typer.Option(help="Seconds of the engine a day (UTC).")] = None
    days: Annotated[float | None, typer.Option(help="Days until it ends by itself.")] = None
    store: Annotated[Path | None, _STORE] = None
    json: Annotated[bool, typer.Option("--json", help="One line of JSON on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyListOptions:
    store: Annotated[Path | None, _STORE] = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevokeOptions:
    key: Annotated[str, typer.Argument(help="Its id, as `longtake keys list` shows it.")]
    store: Annotated[Path | None, _STORE] = None
    json: Annotated[bool, typer.Option("--json", help="One line of JSON on stdout.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeOptions:
    document: Annotated[str, typer.Argument(help="openapi or asyncapi.")]
