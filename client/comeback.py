"""How a session comes back after its connection was lost: with what word, how often it is tried, and for how long.

Knows the messages and a clock that it is given; nothing of sockets or tasks. Invariants: a token is sent once, unless
the server gave no other; the waits grow, and end when the server keeps the session no longer.
"""

from dataclasses import dataclass

from client.errors import ClientError
from service.protocol.client import SessionJoin, SessionResume, SlowConsumer
from service.protocol.server import SessionDirection, SessionForked, SessionResumed, VideoStart


@dataclass(frozen=True, slots=True)
class ResumeTicket:
    """What it takes to go on with a session. `last_sequence` is the last chunk that is here, None before the first."""

    session_id: str
    resume_token: str
    last_sequence: int | None = None


class Comeback:
    """What is known of the session for that. Give it every message that says something of it."""

    def __init__(self) -> None:
        self.slow_consumer: SlowConsumer = "pause"
        self._session: str | None = None
        self._token: str | None = None
        self._watches = False
        self.grace = 0.0

    def begin(self, ticket: ResumeTicket) -> None:
        """The session is gone on with before anything else is known of it."""
        self._session, self._token = ticket.session_id, ticket.resume_token

    def note(self, message: VideoStart | SessionResumed | SessionDirection) -> None:
        """Take what it says of the session's name, the token and who directs."""
        match message:
            case VideoStart():
                self._session, self._watches = message.session_id, message.role == "viewer"
                self.grace = message.limits.resume_grace_s
                self._token = message.resume_token or self._token
            case SessionResumed():
                self._token = message.resume_token or self._token
            case SessionDirection():
                self._watches = message.role == "viewer"
                self._token = message.resume_token

    def ticket(self, last_sequence: int | None) -> ResumeTicket | None:
        """None where there is nothing to come back with."""
        if self._session is None or self._token is None:
            return None
        return ResumeTicket(self._session, self._token, last_sequence)

    def hello(self, last_sequence: int | None) -> SessionResume | SessionJoin | None:
        """The first message of the next connection; None where the session cannot be gone on with."""
        ticket = self.ticket(last_sequence)
        if ticket is not None and not self._watches:
            return resume_message(ticket, self.slow_consumer)
        if self._session is not None and self._watches:
            return SessionJoin(session_id=self._session, slow_consumer=self.slow_consumer)
        return None


def fork_ticket(fork: SessionForked) -> ResumeTicket:
    """What goes on with a fork, from its first own chunk on."""
    return ResumeTicket(fork.session_id, fork.resume_token, fork.block - 1 if fork.block else None)


def resume_message(ticket: ResumeTicket, slow_consumer: SlowConsumer = "pause") -> SessionResume:
    return SessionResume(
        session_id=ticket.session_id,
        resume_token=ticket.resume_token,
        last_sequence=ticket.last_sequence,
        slow_consumer=slow_consumer,
    )


class Attempts:
    """The attempts after one loss. The first is made at once.

    Args:
        lost: why the connection is gone, which is what is told if it does not come back.
        until: clock second after which there is no sense in another.
    """

    def __init__(self, lost: ClientError, *, until: float, first_delay: float, longest_delay: float) -> None:
        self.lost = lost
        self.count = 0
        self._until = until
        self._delay = first_delay
        self._longest = longest_delay

    def wait(self, now: float) -> float | None:
        """Seconds until the next attempt; None when it is time to give up."""
        if self.count == 0:
            self.count = 1
            return 0.0
        if now + self._delay > self._until:
            return None
        self.count += 1
        delay, self._delay = self._delay, min(2 * self._delay, self._longest)
        return delay
