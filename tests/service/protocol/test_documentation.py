"""service/README.md against the models: every message and every field of it is documented."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from service.protocol import ClientMessage, ServerMessage
from service.protocol.server import ChunkTimings, FramePart

README = Path(__file__).parents[3] / "service" / "README.md"
MESSAGES: tuple[type[BaseModel], ...] = (*get_args(ClientMessage), *get_args(ServerMessage))


@pytest.mark.parametrize("model", MESSAGES, ids=lambda model: model.__name__)
def test_every_message_is_documented_with_all_its_fields(model: type[BaseModel]) -> None:
    name = model.model_fields["type"].default
    rows = [line for line in README.read_text("utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    fields = set(model.model_fields) - {"type"}
    if "timings" in fields:
        fields |= set(ChunkTimings.model_fields) | set(FramePart.model_fields)
    assert sorted(field for field in fields if f"`{field}`" not in rows[0]) == []
