"""`kill -9` of the process that writes, at any moment: what was acknowledged is there, and the store can be read."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.store.store import SessionStore

WRITER = """
import asyncio, sys
from pathlib import Path
from service.store.store import SessionStore
from tests.service.store.values import prompt, record, row

async def write(store):
    await store.open_session(record())
    for sequence in range(100_000):
        await store.append_chunk("a", row(sequence), events=(prompt(sequence),))
        print(sequence, flush=True)

asyncio.run(write(SessionStore(Path(sys.argv[1]))))
"""
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("chunks", [0, 1, 7, 40])
async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, chunks: int) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    acknowledged = -1
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged >= chunks:
                break
        # Wherever it is just now: it goes on writing until the signal comes.
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in process.stdout if line.endswith("\n"))])
    store = SessionStore(tmp_path)
    record, rows, events = await store.get("a"), await store.chunks("a"), await store.events("a")
    store.close()
    assert record.end_reason == "interrupted"
    assert acknowledged + 1 <= len(rows) <= acknowledged + 2
    assert [row.sequence for row in rows] == [event.sequence for event in events] == list(range(record.next_sequence))
