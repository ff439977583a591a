"""A live session whose latents the disk does not take: it goes on, and is stored when the disk takes them again."""

import time
from pathlib import Path

from service.ipc import Chunk, Credit, Ended, Failed, Rewind, Rewound, Stop, Stored
from service.latent_files import stored_sequences
from service.worker.loop import _LATE_SECONDS
from tests.service.worker.stage import Stage, start

GUARD = 120.0


def block_the_disk(stage: Stage) -> Path:
    """A file where the folder of the latents should be."""
    place = stage.store / "latents"
    place.write_text("full")
    return place


def until_stored(stage: Stage) -> None:
    """The encoder threads have written what waits."""
    session, ends_at = stage.loop._table.get("s"), time.monotonic() + GUARD
    assert session is not None
    while session.latents.late:
        assert time.monotonic() < ends_at
        time.sleep(0.001)


def later(stage: Stage) -> None:
    """The time of the next try comes."""
    stage.clock.now += _LATE_SECONDS


def test_it_goes_on_and_is_stored_later() -> None:
    stage = Stage()
    place = block_the_disk(stage)

    def mended() -> None:
        place.unlink()
        later(stage)

    sent = stage.play(
        [start(credits=2)],
        lambda: later(stage),  # in vain
        [Credit(session="s", chunks=1)],
        mended,
        lambda: until_stored(stage),
        [Credit(session="s", chunks=2)],
        [Stop(session="s")],
    )
    assert [(chunk.sequence, chunk.stored) for chunk in stage.chunks()] == [
        (0, False),
        (1, False),
        (2, False),
        (3, True),
        (4, True),
    ]
    assert [event.sequence for event in sent if isinstance(event, Stored)] == [0, 1, 2]
    assert isinstance(sent[-1], Ended)
    assert stored_sequences(stage.store / "latents" / "s") == (0, 1, 2, 3, 4)


def test_what_is_not_stored_can_be_gone_back_to() -> None:
    stage = Stage()
    block_the_disk(stage)
    sent = stage.play(
        [start(credits=4)],
        [Rewind(session="s", block=2, take=1, event_id="r"), Credit(session="s", chunks=1)],
        [Stop(session="s")],
    )
    assert [event.block for event in sent if isinstance(event, Rewound)] == [2]
    assert [(chunk.block, chunk.take) for chunk in stage.chunks()][-1] == (2, 1)
    assert not [event for event in sent if isinstance(event, Failed | Stored)]
    assert isinstance(sent[-1], Ended)


def test_where_no_more_can_wait_the_session_waits_for_the_disk() -> None:
    stage = Stage(late_bytes=1)
    place = block_the_disk(stage)
    made: list[int] = []

    def mended() -> None:
        made.append(len(stage.chunks()))
        place.unlink()
        later(stage)

    sent = stage.play(
        [start(credits=1)], [Credit(session="s", chunks=2)], mended, lambda: until_stored(stage), [Stop(session="s")]
    )
    assert made == [1]
    assert len([event for event in sent if isinstance(event, Chunk)]) == 3
    assert [event.sequence for event in sent if isinstance(event, Stored)] == [0]


def test_the_end_tries_once_more() -> None:
    stage = Stage()
    place = block_the_disk(stage)
    sent = stage.play([start(credits=2)], place.unlink, [Stop(session="s")])
    assert [type(event) for event in sent[-3:]] == [Stored, Stored, Ended]
