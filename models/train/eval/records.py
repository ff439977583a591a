"""Records on disk: one file of lines for each engine, so that a run goes on where an earlier one stopped.

Knows files and records. A file's name holds a digest of all that its records depend on beside the take itself;
anything else gives another file, and nothing old is ever taken for new. A last line that was cut short is dropped.
"""

from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Final

from models.train.eval.takes import Take, TakeRecord

VERSION: Final = 1
"""Goes up when a record's figures are computed in another way."""


class RecordFile:
    """The records of one engine."""

    def __init__(self, folder: Path, identity: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        digest = sha256(f"{VERSION} {identity}".encode()).hexdigest()[:12]
        self.path = folder / f"{digest}.jsonl"
        self._records: dict[str, dict[str, TakeRecord]] = defaultdict(dict)
        for line in self._lines():
            self._keep(TakeRecord.from_json(line))

    def _lines(self) -> list[str]:
        """The whole lines; what was cut short is cut off the file, too."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole, encoding="utf-8")
        return whole.splitlines()

    def _keep(self, record: TakeRecord) -> None:
        self._records[record.key][record.change] = record

    def find(self, take: Take) -> list[TakeRecord] | None:
        """The take's records in the order of its changes, or None unless all are there."""
        found = self._records.get(take.key, {})
        names = [change.name for change in take.changes] or [""]
        return [found[name] for name in names] if all(name in found for name in names) else None

    def add(self, records: list[TakeRecord]) -> None:
        """Keep a take's records, on disk at once."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{record.to_json()}\n" for record in records))
        for record in records:
            self._keep(record)
