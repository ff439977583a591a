"""Shares of the readers' runs: a slow reader costs the others nothing and memory its bound; the idle are not lost."""

import pytest

from service.protocol.client import SlowConsumer
from tests.bench import readers
from tests.service.api.running import FAST


@pytest.mark.parametrize("policy", ["pause", "drop", "disconnect"])
async def test_a_slow_reader_beside_quick_ones(policy: SlowConsumer) -> None:
    result = await readers.slow_reader(policy, seconds=2.0)
    # However busy the machine: who waited for the slow one, who takes 12 s a chunk, would have what is under credit.
    assert result.chunks_beside > 4 * (FAST.session_credits + 1)
    # Two for each of the five: those under credit; with `drop` the newest and the one that is being sent.
    assert result.peak.outbox_bytes <= 5 * max(FAST.session_credits, 2) * result.chunk_bytes
    assert result.peak.socket_bytes <= readers.SOCKET_BYTES + 2 * result.chunk_bytes
    per_reader = result.chunks_beside / 4
    if policy == "drop":
        assert result.slow_made > 0.7 * per_reader
    else:
        assert result.slow_made < 0.7 * per_reader


async def test_idle_connections_beside_streaming_ones() -> None:
    result = await readers.many(idle=40, streaming=10, seconds=1.0, interval=0.1)
    assert result.idle_answered == 40
    assert result.chunks_least > 0
