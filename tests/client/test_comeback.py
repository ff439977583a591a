"""Coming back without a socket: the word that is said, the waits between attempts, and when to give up."""

from client.comeback import Attempts, Comeback, ResumeTicket, fork_ticket, resume_message
from client.errors import ConnectionLost
from service.protocol.client import SessionJoin, SessionResume
from service.protocol.server import SessionDirection, SessionForked, SessionResumed, VideoStart
from tests.client.fake_server import LIMITS


def start(**changes: object) -> VideoStart:
    facts = {
        "session_id": "s1",
        "model": "demo",
        "width": 32,
        "height": 16,
        "fps": 16.0,
        "format": "jpeg",
        "seed": 0,
        "block_frames": 3,
        "frames_per_block": 12,
        "first_block_frames": 12,
        "limits": LIMITS,
    }
    return VideoStart.model_validate(facts | changes)


def test_the_newest_token_is_said_with_the_last_chunk() -> None:
    comeback = Comeback()
    assert (comeback.hello(None), comeback.ticket(3)) == (None, None)
    comeback.note(start(resume_token="t1"))
    assert comeback.grace == LIMITS.resume_grace_s
    comeback.slow_consumer = "drop"
    assert comeback.hello(3) == resume_message(ResumeTicket("s1", "t1", 3), "drop")
    comeback.note(SessionResumed(session_id="s1", cause="connection", next_sequence=4, resume_token="t2"))
    comeback.note(SessionResumed(session_id="s1", cause="worker", next_sequence=5))
    hello = comeback.hello(None)
    assert isinstance(hello, SessionResume)
    assert (hello.resume_token, hello.last_sequence) == ("t2", None)


def test_who_does_not_direct_watches_again() -> None:
    comeback = Comeback()
    comeback.note(start(resume_token="t1"))
    comeback.note(SessionDirection(role="viewer", offered=False))
    assert isinstance(comeback.hello(3), SessionJoin)
    assert comeback.ticket(3) is None
    comeback.note(SessionDirection(role="director", offered=False, resume_token="t3"))
    assert comeback.ticket(3) == ResumeTicket("s1", "t3", 3)


def test_a_ticket_is_good_before_anything_is_known() -> None:
    comeback = Comeback()
    comeback.begin(ResumeTicket("s2", "f1", 1))
    assert comeback.ticket(1) == ResumeTicket("s2", "f1", 1)
    fork = SessionForked(session_id="s2", resume_token="f1", block=0)
    assert fork_ticket(fork) == ResumeTicket("s2", "f1", None)


def test_attempts_wait_longer_and_end_with_the_grace() -> None:
    attempts = Attempts(ConnectionLost("gone"), until=110.0, first_delay=1.0, longest_delay=3.0)
    assert [attempts.wait(now) for now in (100.0, 100.0, 101.0, 103.0, 106.0)] == [0.0, 1.0, 2.0, 3.0, 3.0]
    assert attempts.wait(107.5) is None
    assert attempts.count == 5
