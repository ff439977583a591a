"""The document of a session: out and in again, and what is wrong with one that is not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from service.store.document import SessionDocument, read_document, read_records
from service.store.failures import DocumentInvalid, SessionUnknown
from service.store.store import SessionStore
from tests.service.store.values import add, fill, prompt, row, take


async def made(store: SessionStore) -> SessionDocument:
    await fill(store, "a", 3)
    await add(store, "a", row(3, 1, take=1), events=(take(1, 1),))
    await store.append_note("a", '{"type": "note"}')
    return SessionDocument(await store.get("a"), await store.events("a"), await store.chunks("a"))


async def test_it_comes_back_and_reads_the_same_beside_the_server(store: SessionStore) -> None:
    document = await made(store)
    assert read_document(store.folder, "a") == document
    assert SessionDocument.from_json(json.dumps(document.to_object())) == document
    assert [record.id for record in read_records(store.folder, limit=5)] == ["a"]
    assert [chunk.sequence for chunk in document.course] == [0, 3]
    assert json.loads(document.journal())["events"] == [json.loads(prompt(0)), json.loads(take(1, 1))]
    with pytest.raises(SessionUnknown):
        read_document(store.folder, "b")


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(name)


def _set(place: str, number: int, **fields: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document[place][number].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("chunks"), "an object of version 1"),
        (_without("session"), "session of a session's record is an object with id, model"),
        (_without("events"), "events of a session's record is a list"),
        (_set("chunks", 0, take=True), "chunk.take of a session's record is int, not True"),
        (_set("chunks", 0, take=None), "chunk.take of a session's record is int, not None"),
        (_set("chunks", 0, more=1), "chunk of a session's record is an object with sequence"),
        (_set("chunks", 1, block=2), r"chunk 1 \(block 2\) of a session's record is out of order"),
        (_set("chunks", 1, sequence=0), "out of order"),
        (_set("events", 0, event="prompt"), "event.event of a session's record is dict"),
        (lambda document: document.update(version=2), "an object of version 1"),
        (lambda document: document["session"].update(seed="7"), "session.seed of a session's record is int"),
    ],
)
async def test_what_is_wrong_is_named(
    store: SessionStore, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    document: dict[str, Any] = (await made(store)).to_object()
    change(document)
    with pytest.raises(DocumentInvalid, match=message) as caught:
        SessionDocument.from_json(json.dumps(document))
    assert caught.value.code == "record_invalid"


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[" * 100_000])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(DocumentInvalid):
        SessionDocument.from_json(text)
