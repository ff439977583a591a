"""Both documents as one page for people: routes, messages, their fields. No script, nothing from elsewhere.

It knows the documents as JSON. Invariants: whatever the documents hold is escaped; the policy that the page is sent
with allows its own style, by its hash, and nothing else.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d1f21;
  background: #fff }
h2 { margin-top: 2.5rem }
summary { cursor: pointer; padding: .3rem 0 }
code, pre { font: .875rem/1.4 ui-monospace, monospace }
pre { overflow-x: auto; background: #f4f4f2; padding: .75rem }
b.method { display: inline-block; min-width: 4.5rem }
@media (prefers-color-scheme: dark) { body { color: #e6e6e3; background: #17181a } pre { background: #222427 }
  a { color: #9cc4ff } }
"""


def docs_page(openapi: Mapping[str, Any], asyncapi: Mapping[str, Any]) -> str:
    """The page as HTML."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Longtake: interface</title><style>{STYLE}</style>",
        f"<h1>Longtake {_text(openapi['info']['version'])}</h1>",
        "<p>For programs: <a href=/openapi.json>openapi.json</a>, <a href=/asyncapi.json>asyncapi.json</a>.</p>",
        "<h2>REST</h2>",
        *_routes(openapi),
        "<h2>WebSocket</h2>",
        *_channels(asyncapi),
        *_messages(asyncapi),
        "<h2>Shapes</h2>",
        *_shapes(openapi["components"].get("schemas", {}) | asyncapi["components"]["schemas"]),
        "</html>",
    ]
    return "\n".join(parts)


def policy() -> str:
    """The Content-Security-Policy of the page."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    rest = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"default-src 'none'; style-src 'sha256-{digest}'; {rest}"


def _routes(document: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield _route(path, method, operation)


def _route(path: str, method: str, operation: Mapping[str, Any]) -> str:
    address = f"<b class=method>{_text(method.upper())}</b> <code>{_text(path)}</code>"
    answers = [f"<li>{_text(status)}: {_text(what['description'])}" for status, what in operation["responses"].items()]
    bodies = [_json(kind["schema"]) for kind in _kinds(operation)]
    asked = [_parameter(parameter) for parameter in operation.get("parameters", ())]
    said = _paragraph(operation.get("description", ""))
    inside = [said, "<ul>", *asked, "</ul>", *bodies, "<ul>", *answers, "</ul>"]
    return f"<details><summary>{address} {_text(operation['summary'])}</summary>{''.join(inside)}</details>"


def _kinds(operation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from operation.get("requestBody", {}).get("content", {}).values()


def _parameter(parameter: Mapping[str, Any]) -> str:
    words = f"{parameter.get('description', '')} ({parameter['in']})"
    return f"<li><code>{_text(parameter['name'])}</code> {_text(words)}"


def _channels(document: Mapping[str, Any]) -> Iterator[str]:
    for channel in document["channels"].values():
        yield f"<p><code>{_text(channel['address'])}</code><pre>{_text(channel['description'])}</pre>"


def _messages(document: Mapping[str, Any]) -> Iterator[str]:
    for operation in document["operations"].values():
        yield f"<h3>{_text(operation['summary'])}</h3>"
        for reference in operation["messages"]:
            message = document["components"]["messages"][reference["$ref"].rpartition("/")[2]]
            said = f"<pre>{_text(message['description'])}</pre>" if "description" in message else ""
            head = f"<code>{_text(message['name'])}</code> {_text(message['summary'])}"
            yield f"<details><summary>{head}</summary>{_json(message['payload'])}{said}</details>"


def _shapes(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        yield f"<details><summary><code>{_text(name)}</code></summary>{_json(schema)}</details>"


def _json(value: object) -> str:
    return f"<pre>{_text(json.dumps(value, indent=1, ensure_ascii=False))}</pre>"


def _paragraph(text: str) -> str:
    return f"<p>{_text(text)}</p>" if text else ""


def _text(value: object) -> str:
    return escape(str(value))
