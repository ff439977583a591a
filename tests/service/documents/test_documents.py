"""The documents of the interface: nothing is missing, nothing made up, and the copies in the tree are of today."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest

from service.commands.describe import documents
from service.documents.page import docs_page, policy
from service.errors import REGISTRY
from service.protocol import ClientMessage, ServerMessage

FOLDER = Path(__file__).parents[3] / "service" / "documents"
KEYWORDS_OF_LATER_DRAFTS = {"$defs", "prefixItems", "unevaluatedProperties", "dependentRequired"}


@pytest.fixture(scope="module", name="texts")
def _texts() -> dict[str, str]:
    return documents()


@pytest.fixture(scope="module", name="openapi")
def _openapi(texts: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(texts["openapi.json"])
    return found


@pytest.fixture(scope="module", name="asyncapi")
def _asyncapi(texts: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(texts["asyncapi.json"])
    return found


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json"])
def test_the_copy_in_the_tree_is_the_present_one(texts: dict[str, str], name: str) -> None:
    command = f"longtake describe {name.removesuffix('.json')} > service/documents/{name}"
    assert (FOLDER / name).read_text(encoding="utf-8") == texts[name], f"make it anew: {command}"


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json"])
def test_every_reference_leads_somewhere(texts: dict[str, str], name: str) -> None:
    document = json.loads(texts[name])
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', texts[name]))
    assert references
    for reference in references:
        place: Any = document
        for part in reference.split("/"):
            place = place[part]


def test_every_message_is_described_with_all_its_fields(asyncapi: dict[str, Any]) -> None:
    components, heard = asyncapi["components"], set()
    for model in (*get_args(ClientMessage), *get_args(ServerMessage)):
        name = model.model_fields["type"].default
        heard.add(name)
        message = components["messages"][name]
        schema = components["schemas"][message["payload"]["$ref"].rpartition("/")[2]]
        assert set(schema["properties"]) == set(model.model_fields)
        assert schema["properties"]["type"]["const"] == name
        assert message["summary"]
    assert set(components["messages"]) == heard | {"video.frames"}
    assert set(asyncapi["channels"]["realtime"]["messages"]) == set(components["messages"])
    said = [reference for operation in asyncapi["operations"].values() for reference in operation["messages"]]
    assert sorted(item["$ref"].rpartition("/")[2] for item in said) == sorted(components["messages"])


def test_it_is_asyncapi_3_with_schemas_of_its_own_draft(asyncapi: dict[str, Any], texts: dict[str, str]) -> None:
    """Its structure; the official schema of 3.0.0 is of no package that is installed here, and was used by hand."""
    assert asyncapi["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(asyncapi["info"])
    assert set(asyncapi) <= {
        "asyncapi",
        "info",
        "defaultContentType",
        "servers",
        "channels",
        "operations",
        "components",
    }
    assert {operation["action"] for operation in asyncapi["operations"].values()} == {"send", "receive"}
    assert [word for word in KEYWORDS_OF_LATER_DRAFTS if f'"{word}"' in texts["asyncapi.json"]] == []


def test_every_code_is_told_with_the_message_that_carries_it(asyncapi: dict[str, Any]) -> None:
    description = asyncapi["components"]["messages"]["error"]["description"]
    assert [code for code in REGISTRY if f"| `{code}` |" not in description] == []


def test_every_route_tells_what_comes_before_it(openapi: dict[str, Any]) -> None:
    for path, methods in openapi["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for method, operation in methods.items():
            wanted = {"401", "403", "429", "431"} | ({"408", "413"} if method == "post" else set())
            assert wanted <= set(operation["responses"]), (method, path)
            assert operation["security"] == [{"key": []}, {}]
            for status, answer in operation["responses"].items():
                if status >= "400" and status != "412":
                    assert "application/problem+json" in answer["content"], (method, path, status)


def test_every_route_has_a_name_and_says_what_it_does(openapi: dict[str, Any]) -> None:
    operations = [operation for methods in openapi["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert [operation["operationId"] for operation in operations if not operation.get("description")] == []


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "style")]


def test_the_page_holds_all_and_loads_nothing(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> None:
    page, parser = docs_page(openapi, asyncapi), _Tags()
    parser.feed(page)
    assert [path for path in openapi["paths"] if f"<code>{path}</code>" not in page] == []
    assert [name for name in asyncapi["components"]["messages"] if f"<code>{name}</code>" not in page] == []
    assert {"script", "img", "link", "iframe", "form"} & set(parser.tags) == set()
    assert parser.links == ["/openapi.json", "/asyncapi.json"]
    assert parser.tags.count("style") == 1
    assert "script-src" not in policy()
    assert "default-src 'none'" in policy()


def test_what_a_document_says_cannot_break_out_of_the_page(asyncapi: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>"
    answers = {"200": {"description": evil}}
    operation = {"summary": evil, "description": evil, "responses": answers, "parameters": [{"name": evil, "in": evil}]}
    page = docs_page({"info": {"version": evil}, "paths": {evil: {evil: operation}}, "components": {}}, asyncapi)
    assert "<script" not in page.lower()
