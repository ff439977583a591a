"""Admission: places, turns and leases, by example and against a naive model with any order of events."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from service.api.admission import Admission, Position
from service.errors import CapacityError, ErrorCode

LEASE = 10.0
PATIENCE = 25.0


def admission(places: int = 1, room: int = 2) -> Admission:
    return Admission(places=places, room=room, lease_seconds=LEASE, waiting_timeout=PATIENCE)


def test_places_then_turns_then_no() -> None:
    desk = admission()
    assert [desk.ask(name, 0.0) for name in "abc"] == [True, False, False]
    assert desk.full
    with pytest.raises(CapacityError, match="All 1 places are taken, and 2 sessions wait") as caught:
        desk.ask("d", 0.0)
    assert caught.value.code is ErrorCode.CAPACITY
    assert (desk.active, desk.waiting) == (1, 2)


def test_without_a_waiting_room_the_next_one_is_refused() -> None:
    desk = admission(room=0)
    desk.ask("a", 0.0)
    with pytest.raises(CapacityError, match=r"All 1 places are taken\.$"):
        desk.ask("b", 0.0)


def test_the_first_who_came_is_the_first_let_in_and_the_others_move_up() -> None:
    desk = admission(room=3)
    for name in "abcd":
        desk.ask(name, 0.0)
    assert desk.moved() == (Position("b", 1, 3), Position("c", 2, 3), Position("d", 3, 3))
    assert desk.moved() == ()
    assert desk.leave("c")
    assert desk.moved() == (Position("d", 2, 2),)
    assert desk.admit(1.0) == ()
    assert desk.leave("a")
    assert desk.admit(1.0) == ("b",)
    assert desk.moved() == (Position("d", 1, 1),)


def test_nobody_passes_those_who_wait() -> None:
    desk = admission(room=3)
    for name in "ab":
        desk.ask(name, 0.0)
    desk.leave("a")
    assert desk.ask("c", 0.0) is False
    assert desk.admit(0.0) == ("b",)


def test_a_place_is_given_up_once() -> None:
    desk = admission()
    desk.ask("a", 0.0)
    assert [desk.leave("a"), desk.leave("a"), desk.leave("nobody")] == [True, False, False]


def test_a_lease_runs_out_unless_it_is_renewed() -> None:
    desk = admission(places=2)
    desk.ask("a", 0.0)
    desk.ask("b", 0.0)
    desk.renew("a", 5.0)
    assert desk.deadline() == LEASE
    assert desk.expired(LEASE - 0.1) == ()
    assert desk.expired(LEASE) == ("b",)
    assert desk.expired(5.0 + LEASE) == ("a", "b")


def test_a_session_that_is_ending_cannot_hold_its_place() -> None:
    desk = admission()
    desk.ask("a", 0.0)
    desk.end("a", 1.0, within=3.0)
    desk.end("a", 3.0, within=3.0)
    desk.renew("a", 3.0)
    assert desk.is_ending("a")
    assert (desk.expired(3.9), desk.expired(4.0)) == ((), ("a",))


def test_who_waits_too_long_is_named() -> None:
    desk = admission()
    desk.ask("a", 0.0)
    desk.ask("b", 1.0)
    assert (desk.weary(PATIENCE), desk.weary(PATIENCE + 1)) == ((), ("b",))


def test_with_fewer_places_than_sessions_nobody_is_let_in_until_they_fit() -> None:
    desk = admission(places=2)
    for name in "abc":
        desk.ask(name, 0.0)
    desk.places = 1
    desk.leave("a")
    assert desk.admit(0.0) == ()
    desk.leave("b")
    assert desk.admit(0.0) == ("c",)


class AnyOrder(RuleBasedStateMachine):
    """Against two lists. Every session that asked is running, waiting, refused or gone, and only one of them."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.count = 0
        self.desk = admission(places=2, room=3)
        self.running: dict[str, float] = {}
        self.ending: set[str] = set()
        self.queue: list[str] = []
        self.told: dict[str, int] = {}

    @rule(target=sessions)
    def asks(self) -> str:
        self.count += 1
        name = f"s{self.count}"
        places_free = len(self.running) < self.desk.places and not self.queue
        try:
            admitted = self.desk.ask(name, self.now)
        except CapacityError:
            assert not places_free
            assert len(self.queue) == 3
            return name
        assert admitted is places_free
        if admitted:
            self.running[name] = self.now + LEASE
        else:
            self.queue.append(name)
        return name

    @rule(session=consumes(sessions))
    def leaves(self, session: str) -> None:
        here = session in self.running or session in self.queue
        assert self.desk.leave(session) is here
        assert self.desk.leave(session) is False
        self.running.pop(session, None)
        self.ending.discard(session)
        if session in self.queue:
            self.queue.remove(session)

    @rule(session=sessions)
    def shows_life(self, session: str) -> None:
        self.desk.renew(session, self.now)
        if session in self.running and session not in self.ending:
            self.running[session] = self.now + LEASE

    @rule(session=sessions)
    def ends(self, session: str) -> None:
        self.desk.end(session, self.now, within=3.0)
        if session in self.running and session not in self.ending:
            self.ending.add(session)
            self.running[session] = self.now + 3.0

    @rule()
    def lets_in(self) -> None:
        free = max(self.desk.places - len(self.running), 0)
        expected, self.queue = self.queue[:free], self.queue[free:]
        assert self.desk.admit(self.now) == tuple(expected)
        self.running |= dict.fromkeys(expected, self.now + LEASE)

    @rule(places=st.integers(0, 4))
    def has_places(self, places: int) -> None:
        self.desk.places = places

    @rule(seconds=st.sampled_from([0.5, 3.0, LEASE]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds
        gone = {name for name, until in self.running.items() if until <= self.now}
        assert set(self.desk.expired(self.now)) == gone

    @invariant()
    def counts_are_exact(self) -> None:
        assert (self.desk.active, self.desk.waiting) == (len(self.running), len(self.queue))
        assert all(self.desk.holds(name) for name in self.running)
        assert {name for name in self.running if self.desk.is_ending(name)} == self.ending

    @invariant()
    def everybody_knows_their_position(self) -> None:
        for moved in self.desk.moved():
            assert moved.waiting == len(self.queue)
            self.told[moved.session] = moved.position
        assert [self.told[name] for name in self.queue] == list(range(1, len(self.queue) + 1))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
