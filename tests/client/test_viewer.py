"""Viewer: what is on screen, on a clock that the test moves."""

from client.chunk import Chunk
from client.switch import Switch
from client.viewer import Viewer
from tests.client.fake_server import FPS, HEIGHT, WIDTH, make_chunk


def chunk(sequence: int, *events: str, pts: float | None = None) -> Chunk:
    metadata, payload = make_chunk(sequence)
    changes = {"event_ids": events, "pts": metadata.pts if pts is None else pts}
    return Chunk(metadata.model_copy(update=changes), payload, WIDTH, HEIGHT, 0.0)


def watching(*chunks: Chunk, switch: Switch) -> Viewer:
    """A viewer for whom all chunks are here and none is taken."""
    viewer = Viewer(FPS, shows=True)
    for one in chunks:
        viewer.received(one, [switch] if switch.event_id in one.metadata.event_ids else [])
    return viewer


def test_a_switch_is_shown_when_the_playhead_comes_to_its_chunk() -> None:
    switch = Switch("a", "a boat", sent_at=9.0)
    chunks = (chunk(0), chunk(1, "a"))
    viewer = watching(*chunks, switch=switch)
    viewer.taken(chunks[0], 10.0)
    viewer.taken(chunks[1], 10.1)
    viewer.advance(10.7)
    assert switch.shown_at is None
    viewer.advance(11.0)  # late to look, and still the moment itself is told
    assert switch.shown_at == 10.75


def test_playhead_waits_for_a_program_that_takes_late() -> None:
    switch = Switch("a", "a boat", sent_at=9.0)
    chunks = (chunk(0), chunk(1, "a"))
    viewer = watching(*chunks, switch=switch)
    viewer.taken(chunks[0], 10.0)
    assert viewer.message(10.5).model_dump() == {
        "type": "session.playback",
        "position_seconds": 0.5,
        "buffered_seconds": 1.0,
        "dropped": None,
    }
    assert viewer.message(13.0).position_seconds == 0.75
    viewer.taken(chunks[1], 14.0)
    assert switch.shown_at == 14.0


def test_what_is_taken_back_is_not_shown_and_its_switch_comes_with_the_next() -> None:
    switch = Switch("a", "a boat", sent_at=9.0)
    chunks = (chunk(0), chunk(1, "a"), chunk(2, "a"))
    viewer = watching(*chunks, switch=switch)
    viewer.taken(chunks[0], 10.0)
    viewer.taken(chunks[1], 10.1)
    assert viewer.take_back(1, dropped=(chunks[2],), now=10.2) == (1,)
    assert viewer.message(20.0).model_dump()["position_seconds"] == 0.75
    assert switch.shown_at is None
    viewer.taken(chunk(3, "a", pts=0.75), 20.0)
    assert switch.shown_at == 20.0


def test_end_of_the_session_lets_the_rest_play() -> None:
    switch = Switch("a", "a boat", sent_at=9.0)
    chunks = (chunk(0), chunk(1, "a"))
    viewer = watching(*chunks, switch=switch)
    viewer.taken(chunks[0], 10.0)
    viewer.taken(chunks[1], 10.1)
    viewer.end(10.2)
    assert switch.shown_at == 10.75


def test_own_player_is_all_that_counts_once_it_reports() -> None:
    switch = Switch("a", "a boat", sent_at=9.0)
    chunks = (chunk(0), chunk(1, "a"))
    viewer = watching(*chunks, switch=switch)
    viewer.report(0.0, 10.0)
    viewer.taken(chunks[0], 10.0)
    viewer.taken(chunks[1], 10.0)
    viewer.advance(99.0)
    assert (viewer.position(99.0), switch.shown_at, viewer.has_own_player) == (0.0, None, True)
    viewer.end(99.0)
    assert switch.shown_at is None
    viewer.report(0.8, 100.0)
    assert switch.shown_at == 100.0


def test_without_pacing_nothing_is_shown() -> None:
    switch = Switch("a", "a boat", sent_at=9.0)
    viewer = Viewer(FPS, shows=False)
    viewer.received(chunk(0, "a"), [switch])
    viewer.taken(chunk(0, "a"), 10.0)
    viewer.end(11.0)
    assert switch.shown_at is None
