"""`longtake describe`: the documents of the interface, as this version serves them.

Knows the app and its documents; nothing of engines. Invariant: what is printed is what a server of this version answers
at `/openapi.json` and `/asyncapi.json`, whatever the settings.
"""

import json
import tempfile
from contextlib import closing
from pathlib import Path

import typer

from service.commands.access_options import DescribeOptions
from service.commands.options import OptionError
from service.config import ServiceConfig


def run_describe(options: DescribeOptions) -> None:
    """Raises OptionError."""
    found = documents()
    name = f"{options.document}.json"
    if name not in found:
        message = f"expected openapi or asyncapi, not {options.document!r}"
        raise OptionError(message, code="field_choice", field="document")
    typer.echo(found[name], nl=False)


def documents() -> dict[str, str]:
    """The documents by the names of their files, as text."""
    from service.api.app import create_app
    from service.api.documents_routes import asyncapi_of
    from service.api.worker_client import WorkerClient
    from service.store.store import SessionStore

    config = ServiceConfig()
    with tempfile.TemporaryDirectory() as folder, closing(SessionStore(Path(folder))) as store:
        app = create_app(config, WorkerClient(config), store=store)
        found = {"openapi.json": app.openapi(), "asyncapi.json": asyncapi_of(app)}
    return {name: json.dumps(document, indent=1, ensure_ascii=False) + "\n" for name, document in found.items()}
