"""Eight sessions at once on one worker: each makes the frames it makes alone, and none gets less than its share."""

import asyncio
from collections import Counter

from client.client import connect
from client.requests import Media
from models.journal import WeightedPrompt
from models.load import load_generator
from tests.serving import running_service

SESSIONS = 8
BLOCKS = 12
SWITCH_AT = 2.25
PROMPTS = ("a red ball bounces over a grassy meadow by day", "a yellow star circles over the sea at night")


async def watch(url: str, number: int, *, order: list[int], start: asyncio.Barrier) -> list[str]:
    """The hashes of one session's chunks; `order` notes whose chunk came when."""
    hashes = []
    async with connect(url) as session:
        await start.wait()
        await session.start(
            PROMPTS[number % 2], seed=number, pacing="none", media=Media(quality=50), max_seconds=BLOCKS * 0.75
        )
        await session.prompt(PROMPTS[(number + 1) % 2], at=SWITCH_AT)
        async for chunk in session:
            hashes.append(chunk.metadata.frames_sha256)
            order.append(number)
    return hashes


async def watch_all(address: str) -> tuple[list[list[str]], list[int]]:
    order: list[int] = []
    start = asyncio.Barrier(SESSIONS)
    url = f"ws://{address}"
    made = await asyncio.gather(*(watch(url, number, order=order, start=start) for number in range(SESSIONS)))
    return list(made), order


def alone(number: int) -> list[str]:
    """What the engine makes for the same seed and prompts with nobody beside it."""
    generator = load_generator("demo", threads=1)
    stream = generator.start([WeightedPrompt(PROMPTS[number % 2])], seed=number)
    hashes = []
    for block in range(BLOCKS):
        if block == SWITCH_AT / 0.75:
            generator.set_prompt(stream, [WeightedPrompt(PROMPTS[(number + 1) % 2])])
        made = generator.step(stream)
        assert made is not None
        hashes.append(made.frames_sha256)
    return hashes


def test_eight_sessions_are_each_their_lone_run() -> None:
    with running_service("--set", f"max_sessions={SESSIONS}") as address:
        made, order = asyncio.run(watch_all(address))
    assert [len(hashes) for hashes in made] == [BLOCKS] * SESSIONS
    for number in (0, 3, 7):
        assert made[number] == alone(number), f"session {number}"
    assert len({hashes[0] for hashes in made}) == SESSIONS
    # While all are there, each gets its turn: within 20 % of its share, counted in blocks, one block being the grain.
    together = Counter(order[: SESSIONS * (BLOCKS - 2)])
    share = sum(together.values()) / SESSIONS
    assert all(abs(blocks - share) <= max(1.0, 0.2 * share) for blocks in together.values()), together
