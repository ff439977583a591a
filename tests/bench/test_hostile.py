"""A short part of `python -m tests.bench.hostile`: every attack, few attackers, and a normal client that is served."""

import pytest

from tests.bench.attacks import ATTACKS
from tests.bench.hostile import SERVER, attacked, server


@pytest.mark.system
async def test_a_normal_client_is_served_beside_every_attack() -> None:
    async with server() as found:
        for name in ATTACKS:
            result = await attacked(name, found, seconds=0.2, scale=0.02)
            assert min(result.before.requests, result.during.requests, result.during.pings) >= 10
            assert result.open_sockets <= SERVER.max_sockets
