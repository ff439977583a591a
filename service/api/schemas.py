"""Models as JSON schemas that are whole in themselves, for bodies that a route reads by hand.

It knows pydantic's schemas only. Invariant: what comes out refers to nothing outside of itself.
"""

from typing import Any

from pydantic import BaseModel

_MARK = "#/$defs/"


def inlined_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema with every reference replaced by what it refers to. The model must not hold itself."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    inlined: dict[str, Any] = _resolved(schema, definitions)
    return inlined


def _resolved(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str) and reference.startswith(_MARK):
        beside = {name: item for name, item in value.items() if name != "$ref"}
        return _resolved(definitions[reference.removeprefix(_MARK)] | beside, definitions)
    return {name: _resolved(item, definitions) for name, item in value.items()}
