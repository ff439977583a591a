"""`longtake sessions`: what a store holds, to look at and to delete, with or without a service that uses it.

Knows the store; nothing of engines or sockets. Invariant: looking changes nothing; deleting wants the store for itself,
as only one process writes to it.
"""

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime

import typer

from service.commands.options import SessionListOptions, SessionOptions
from service.commands.stored import folder_of
from service.latent_files import folder_bytes, session_folder
from service.store.document import SessionDocument, read_document, read_records
from service.store.records import SessionRecord
from service.store.store import SessionStore


def run_list(options: SessionListOptions) -> None:
    """The newest sessions, one a line."""
    for record in read_records(folder_of(options.store), limit=options.limit):
        typer.echo(json.dumps(asdict(record)) if options.json else _line(record))


def run_show(options: SessionOptions) -> None:
    """One session: its record in full as JSON, or a summary."""
    folder = folder_of(options.store)
    document = read_document(folder, options.session)
    if options.json:
        typer.echo(json.dumps(document.to_object(), ensure_ascii=False))
        return
    for line in _summary(document, latent_bytes=folder_bytes(session_folder(folder, options.session))):
        typer.echo(line)


def run_delete(options: SessionOptions) -> None:
    """Raises ConfigError while a service uses the store: it deletes with `DELETE /v1/sessions/ID`."""
    folder = folder_of(options.store)
    read_document(folder, options.session)
    store = SessionStore(folder)
    try:
        asyncio.run(store.delete(options.session))
    finally:
        store.close()
    if options.json:
        typer.echo(json.dumps({"deleted": options.session}))


def _line(record: SessionRecord) -> str:
    begun = datetime.fromtimestamp(record.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    state = record.end_reason or "live"
    return f"{record.id}  {begun}  {state:<11}  {record.model}  {record.next_sequence} chunks"


def _summary(document: SessionDocument, *, latent_bytes: int) -> list[str]:
    record, course = document.record, document.course
    frames = sum(chunk.frames for chunk in course)
    lines = [
        _line(record),
        f"video: {len(course)} blocks, {frames / record.fps:.2f} s of {record.width}x{record.height}",
        f"seed {record.seed}, numerics {record.fingerprint}, latents {latent_bytes} bytes",
    ]
    if record.parent is not None:
        lines.append(f"forked from {record.parent} before block {record.parent_block}")
    return lines + [f"chunk {event.sequence}: {event.text}" for event in document.events]
