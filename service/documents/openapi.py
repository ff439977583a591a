"""What the REST document has besides the routes' own words: answers that every route can give, and how keys are sent.

It knows the document as JSON; nothing of the web framework. Invariants: what a route says of an answer stays as it is;
every operation under `/v1` tells each status with which the service can answer before the route runs.
"""

from collections.abc import Mapping
from typing import Any

from service.errors import ErrorCode, facts_of

BEFORE_ROUTES = (
    ErrorCode.KEY_MISSING,
    ErrorCode.SCOPE_MISSING,
    ErrorCode.CONNECTIONS_FULL,
    ErrorCode.HEADERS_TOO_LARGE,
)
BEFORE_BODIES = (ErrorCode.REQUEST_TIMEOUT, ErrorCode.BODY_TOO_LARGE)
_GUARDED = "/v1/"
_METRICS = "/metrics"
_KEY = "key"
_PROBLEM = "Problem"


def completed(document: dict[str, Any], *, problem: Mapping[str, Any], media_type: str) -> dict[str, Any]:
    """The document with what every route has in common; `problem` is the schema of an error, of this media type.

    Changes the document and returns it.
    """
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})[_PROBLEM] = dict(problem)
    content = {media_type: {"schema": {"$ref": f"#/components/schemas/{_PROBLEM}"}}}
    components.setdefault("securitySchemes", {})[_KEY] = {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of `longtake keys create`; not needed on the loopback.",
    }
    for path, methods in document["paths"].items():
        if path.startswith(_GUARDED) or path == _METRICS:
            for method, operation in methods.items():
                _complete(operation, method, content)
        for answer in (answer for operation in methods.values() for answer in operation["responses"].values()):
            if media_type in answer.get("content", {}):
                answer["content"] = answer["content"] | content  # one shape for all, said once
    return document


def _complete(operation: dict[str, Any], method: str, content: Mapping[str, Any]) -> None:
    codes = (*BEFORE_ROUTES, *(BEFORE_BODIES if "requestBody" in operation or method == "post" else ()))
    answers = operation["responses"]
    for code in codes:
        facts = facts_of(code)
        answers.setdefault(str(facts.http_status), {"description": facts.description, "content": content})
    operation["responses"] = dict(sorted(answers.items()))
    # Without one, too: the loopback needs no key.
    operation.setdefault("security", [{_KEY: []}, {}])
