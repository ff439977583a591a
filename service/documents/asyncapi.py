"""The WebSocket as an AsyncAPI 3 document, made from the models of the protocol themselves.

It knows the messages and the codes; nothing of sockets or of who asks. Invariant: a message or a field is in the
document because it is in the protocol, and for no other reason; nothing is written down twice.
"""

import inspect
from typing import Any, get_args

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.errors import REGISTRY, CloseCode
from service.protocol import SUBPROTOCOL, ClientMessage, ServerMessage
from service.protocol.server import ChunkMetadata

ASYNCAPI_VERSION = "3.0.0"
BINARY = "video.frames"
"""Our name for the binary message, which has no type of its own on the wire."""
_SCHEMAS = "#/components/schemas/"
_CHANNEL = "realtime"
_CLOSES = {
    CloseCode.NORMAL: "after `session.done`",
    CloseCode.GOING_AWAY: "the server shuts down",
    CloseCode.INVALID_TEXT: "a text message was not UTF-8",
    CloseCode.POLICY: "a limit of the client's, the key's or the model's",
    CloseCode.TOO_BIG: "a message was over the size limit",
    CloseCode.INTERNAL: "a fault of the server, or a pong that did not come",
    CloseCode.RESTART: "the engine stopped; try again at once",
    CloseCode.TRY_LATER: "no free place, or the engine is not ready",
}

Document = dict[str, JsonValue]


def asyncapi_document(*, address: str, version: str, token_subprotocol: str) -> Document:
    """The document.

    Args:
        address: path of the WebSocket.
        version: of this program.
        token_subprotocol: what a token is offered with, where a key cannot be sent.
    """
    said, heard = _models(ClientMessage), _models(ServerMessage)
    names = {model: str(model.model_fields["type"].default) for model in (*said, *heard)}
    references, schemas = _schemas(said, heard)
    messages: Document = {names[model]: _message(model, names[model], references[model]) for model in (*said, *heard)}
    messages[BINARY] = _binary(names[ChunkMetadata])
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Longtake",
            "version": version,
            "description": "One long shot over a WebSocket: made while it is watched, directed while it is made.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8000",
                "protocol": "ws",
                "security": [{"$ref": _part("securitySchemes", "key")}],
            }
        },
        "channels": {_CHANNEL: _channel(address, list(messages), token_subprotocol)},
        "operations": {
            "hear": _operation("receive", "What a client says.", [names[model] for model in said]),
            "say": _operation("send", "What the service says.", [*(names[model] for model in heard), BINARY]),
        },
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _models(union: Any) -> tuple[type[BaseModel], ...]:
    return get_args(union)


def _schemas(
    said: tuple[type[BaseModel], ...], heard: tuple[type[BaseModel], ...]
) -> tuple[dict[type[BaseModel], JsonValue], Document]:
    """Each message's schema by reference, and all that these refer to."""
    said_mode: JsonSchemaMode = "validation"
    heard_mode: JsonSchemaMode = "serialization"
    wanted = [(model, said_mode) for model in said] + [(model, heard_mode) for model in heard]
    found, definitions = models_json_schema(wanted, ref_template=_SCHEMAS + "{model}")
    references: dict[type[BaseModel], JsonValue] = {model: found[model, mode] for model, mode in wanted}
    return references, dict(sorted(definitions["$defs"].items()))


def _message(model: type[BaseModel], name: str, schema: JsonValue) -> Document:
    message: Document = {"name": name, "title": name, "summary": _summary(model), "payload": schema}
    if name == "error":
        message["description"] = _codes()
    return message


def _binary(announced_by: str) -> Document:
    return {
        "name": BINARY,
        "title": "Frames",
        "summary": f"The bytes that the `{announced_by}` before this message announces, frame after frame.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }


def _channel(address: str, messages: list[str], token_subprotocol: str) -> Document:
    closes = "\n".join(f"| {code.value} | {when} |" for code, when in _CLOSES.items())
    return {
        "address": address,
        "title": "A session",
        "description": f"Subprotocol `{SUBPROTOCOL}`. Clients send text, one JSON object a message; the server sends"
        " text, and binary messages only right after the `video.chunk_metadata` that announces them. Where a key is"
        " needed, a program sends it as `Authorization: Bearer KEY`; a page offers a token of `POST /v1/tokens` as"
        f" subprotocol `{token_subprotocol}TOKEN` or adds it to the address.\n\n"
        f"| close code | when |\n| --- | --- |\n{closes}",
        "messages": {name: {"$ref": _part("messages", name)} for name in messages},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {
                    "type": "object",
                    "properties": {
                        "token": {"type": "string", "description": "A token of `POST /v1/tokens`, good once."}
                    },
                },
                "bindingVersion": "0.1.0",
            }
        },
    }


def _operation(action: str, summary: str, messages: list[str]) -> Document:
    channel = f"#/channels/{_CHANNEL}"
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"} for name in messages],
    }


def _codes() -> str:
    rows = [
        f"| `{code.value}` | {facts.close.value if facts.close else ''} | {facts.description} |"
        for code, facts in REGISTRY.items()
    ]
    return "\n".join(["| code | closes | meaning |", "| --- | --- | --- |", *rows])


def _summary(model: type[BaseModel]) -> str:
    """The first paragraph of what a model says of itself."""
    text = inspect.getdoc(model) or model.__name__
    return " ".join(text.partition("\n\n")[0].split())


def _part(kind: str, name: str) -> str:
    return f"#/components/{kind}/{name}"
