"""Where a page of the list of sessions begins, as a text that clients hand back.

Knows records; nothing of SQL. Invariant: what `write_cursor` writes `read_cursor` gives back, and everything else is
refused.
"""

import base64
import binascii
import math

from service.store import queries
from service.store.failures import CursorInvalid
from service.store.records import SessionRecord


def write_cursor(record: SessionRecord) -> str:
    """Of the last record of a page."""
    return base64.urlsafe_b64encode(f"{record.created_at!r} {record.id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> queries.Place:
    """Raises CursorInvalid."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created_at, session = text.split(" ")
        if not math.isfinite(float(created_at)):
            raise CursorInvalid(cursor)
        return float(created_at), session
    except (binascii.Error, ValueError) as error:
        raise CursorInvalid(cursor) from error
