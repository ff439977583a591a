"""`longtake keys`: who may use a service. It works on the store itself, while a service uses it or before one does.

Knows keys and the store; nothing of servers. Invariant: a key is shown when it is made and never again.
"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import typer

from service.access.keys import KeyWish, new_key
from service.access.principal import Scope
from service.commands.access_options import KeyCreateOptions, KeyListOptions, KeyRevokeOptions
from service.commands.options import OptionError
from service.config import load_config, store_folder
from service.store.aside import beside_server
from service.store.keys import KeyRow, add_key, all_keys, revoke_key, use_of_day

_DAY_SECONDS = 86400.0


def run_create(options: KeyCreateOptions) -> None:
    """Print a new key: alone on a line, so that it can be kept in a file at once."""
    now = time.time()
    key, row = new_key(_wish(options, now), now=now)
    with beside_server(*_store(options.store)) as connection:
        add_key(connection, row)
    if options.json:
        typer.echo(json.dumps({"key": key} | _facts(row)))
        return
    typer.echo(key)
    typer.echo(f"key {row.id} of tenant {row.tenant}: {row.scopes}. It is not shown again.", err=True)


def run_list(options: KeyListOptions) -> None:
    """The keys, the oldest first, with what they have used today."""
    today = datetime.now(UTC).date().isoformat()
    with beside_server(*_store(options.store)) as connection:
        keys, used = all_keys(connection), use_of_day(connection, today)
    for row in keys:
        seconds = used.get(row.id, 0.0)
        typer.echo(json.dumps(_facts(row) | {"gpu_seconds_today": seconds}) if options.json else _line(row, seconds))


def run_revoke(options: KeyRevokeOptions) -> None:
    """Whoever comes with it is refused from now on; who is connected with it is sent away before long."""
    with beside_server(*_store(options.store)) as connection:
        revoked = revoke_key(connection, options.key, at=time.time())
    if not revoked:
        raise OptionError(f"there is no key {options.key!r} that is still good", code="key_invalid", field="key")
    if options.json:
        typer.echo(json.dumps({"revoked": options.key}))


def _store(folder: Path | None) -> tuple[Path]:
    return (store_folder(load_config({"store_dir": folder})),)


def _wish(options: KeyCreateOptions, now: float) -> KeyWish:
    """Raises OptionError."""
    known = {scope.value: scope for scope in Scope}
    unknown = [word for word in options.scope or () if word not in known]
    if unknown:
        words = ", ".join(known)
        raise OptionError(f"expected one of {words}, not {unknown[0]!r}", code="field_choice", field="scope")
    scopes = {"scopes": frozenset(known[word] for word in options.scope)} if options.scope else {}
    try:
        return KeyWish(
            tenant=options.tenant,
            name=options.name,
            max_sessions=options.sessions,
            max_jobs=options.jobs,
            gpu_seconds_per_day=options.gpu_seconds,
            expires_at=None if options.days is None else now + options.days * _DAY_SECONDS,
            **scopes,
        )
    except ValueError as error:
        raise OptionError(str(error), code="field_range", field="tenant") from error


def _facts(row: KeyRow) -> dict[str, object]:
    hidden = ("digest",)
    return {name: getattr(row, name) for name in KeyRow.__dataclass_fields__ if name not in hidden}


def _line(row: KeyRow, used: float) -> str:
    made = datetime.fromtimestamp(row.created_at, UTC).strftime("%Y-%m-%d")
    state = "revoked" if row.revoked_at is not None else "good"
    limits = f"sessions {_limit(row.max_sessions)}, jobs {_limit(row.max_jobs)}, "
    limits += f"{used:.1f} of {_limit(row.gpu_seconds_per_day)} s today"
    return f"{row.id}  {made}  {state:<7}  {row.tenant}  {row.name or '-'}  {row.scopes}  {limits}"


def _limit(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"
