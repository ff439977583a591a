"""What can go wrong in the store, as errors with codes.

Knows the registry of codes only; nothing of SQL or files. Invariant: nothing else leaves the store, but for what a
caller does wrong in the program.
"""

from service.errors import ConfigError, ErrorCode, SessionError


class StoreError(SessionError):
    """Something is wrong with the store or with what is asked of it; `code` says what."""


class StoreVersionUnknown(ConfigError):
    """The tables are of a version that this program does not know, or has no way from."""

    code = ErrorCode.STORE_VERSION_UNKNOWN


class BackupInvalid(StoreError):
    """A backup that is not whole, or none at all."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.BACKUP_INVALID, message)


class SessionUnknown(StoreError):
    """There is no such session, or no longer."""

    def __init__(self, session: str) -> None:
        super().__init__(ErrorCode.SESSION_UNKNOWN, f"there is no session {session[:128]!r} in the store")


class SessionLive(StoreError):
    """It has to end before this can be done with it."""

    def __init__(self, session: str) -> None:
        super().__init__(ErrorCode.SESSION_LIVE, f"session {session[:128]!r} is live; it has to end first")


class HoldLost(StoreError):
    """Another process goes on with the session; whoever finds this out has nothing more to do with it."""

    def __init__(self, session: str) -> None:
        super().__init__(ErrorCode.CONNECTION_REPLACED, f"another server went on with session {session[:128]!r}")


class TokenRefused(StoreError):
    """It is not the session's token, or too old. `known`: there is one at all; `live`: so is the session."""

    def __init__(self, session: str, *, known: bool, live: bool) -> None:
        super().__init__(ErrorCode.RESUME_TOKEN_INVALID, f"the token is not good for session {session[:128]!r}")
        self.known = known
        self.live = live


class ForkPointInvalid(StoreError):
    """The session has no such block or chunk."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.FORK_POINT_INVALID, message)


class CursorInvalid(StoreError):
    def __init__(self, cursor: str) -> None:
        message = f"a cursor is the next_cursor of an earlier page, not {cursor[:64]!r}"
        super().__init__(ErrorCode.CURSOR_INVALID, message)


class LatentsMissing(StoreError):
    """Latents that a fork or a recording needs are not there."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.LATENTS_MISSING, message)


class DocumentInvalid(StoreError):
    """A session's record, as a document, that is not one."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.RECORD_INVALID, message)


class StoreFailed(StoreError):
    """The database or the folder cannot be read or written now."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.STORE_FAILED, message)


class ChunkOutOfTurn(StoreError):
    """A chunk that is not the session's next: a fault of the program, which waiting does not mend."""

    def __init__(self, session: str, *, expected: int, given: int) -> None:
        super().__init__(ErrorCode.INTERNAL_ERROR, f"the next chunk of session {session} is {expected}, not {given}")
        self.expected = expected
        self.given = given


class StoreClosed(StoreFailed):
    """The store was closed."""
