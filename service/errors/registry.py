"""What each error code means and how it looks on each transport.

It knows nothing of sockets, HTTP frameworks, sessions or tensors. Invariant: a code that a user can see, over REST or
over the WebSocket, has exactly one entry in REGISTRY.
"""

from dataclasses import dataclass

from service.errors.codes import CloseCode, ErrorCode


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What a code means, whether asking again may help, and how it looks on each transport.

    A fatal error ends the session and closes the socket with `close`; any other leaves both going.
    """

    description: str
    http_status: int = 422
    retryable: bool = False
    close: CloseCode | None = None

    @property
    def fatal(self) -> bool:
        return self.close is not None


def _refused(description: str, http_status: int = 422, *, retryable: bool = False) -> ErrorFacts:
    return ErrorFacts(description, http_status, retryable)


def _ends(description: str, http_status: int, close: CloseCode, *, retryable: bool = False) -> ErrorFacts:
    return ErrorFacts(description, http_status, retryable, close)


REGISTRY: dict[ErrorCode, ErrorFacts] = {
    ErrorCode.JSON_INVALID: _refused("The message is not JSON.", 400),
    ErrorCode.JSON_TOO_DEEP: _refused("Arrays or objects are nested deeper than the limit.", 400),
    ErrorCode.JSON_NUMBER_INVALID: _refused("A number is NaN, infinite or has too many digits.", 400),
    ErrorCode.JSON_DUPLICATE_KEY: _refused("An object has the same key twice.", 400),
    ErrorCode.TEXT_INVALID: _refused("A text holds a NUL or half a surrogate pair.", 400),
    ErrorCode.MESSAGE_NOT_OBJECT: _refused("The message is JSON but not an object.", 400),
    ErrorCode.TYPE_MISSING: _refused("The message has no `type`.", 400),
    ErrorCode.TYPE_UNKNOWN: _refused("The message has a `type` that the server does not know.", 400),
    ErrorCode.FIELD_MISSING: _refused("A required field is not there."),
    ErrorCode.FIELD_UNKNOWN: _refused("The message has a field that its type does not have."),
    ErrorCode.FIELD_TYPE: _refused("A field has a value of another JSON type."),
    ErrorCode.FIELD_RANGE: _refused("A field is too small, too big, too short or too long."),
    ErrorCode.FIELD_CHOICE: _refused("A field is not one of the words it can be."),
    ErrorCode.PROMPT_MISSING: _refused("Neither `prompt` nor `prompts` was given."),
    ErrorCode.PROMPT_CONFLICT: _refused("Both `prompt` and `prompts` were given."),
    ErrorCode.PROMPT_EMPTY: _refused("A prompt has nothing in it that can be seen."),
    ErrorCode.PROMPT_TOO_LONG: _refused("A prompt has more characters than the limit."),
    ErrorCode.WEIGHTS_INVALID: _refused("A weight is negative or not finite, or all are zero."),
    ErrorCode.PROMPTS_INVALID: _refused("The engine cannot blend these prompts."),
    ErrorCode.PROMPT_INVALID: _refused("The engine cannot use this prompt."),
    ErrorCode.MODEL_UNKNOWN: _refused("No such model is loaded.", 404),
    ErrorCode.MODEL_UNAVAILABLE: _refused("The model is known, but its files are not here.", 404),
    ErrorCode.MODEL_FILES_INVALID: _refused("A file of the model is damaged or belongs to another."),
    ErrorCode.CONFIG_INVALID: _refused("Settings or sizes do not fit together."),
    ErrorCode.ADAPTERS_UNKNOWN: _refused("An adapter is not known here, or its scale is out of range."),
    ErrorCode.ADAPTERS_UNAVAILABLE: _refused(
        "Other sessions run with other adapters, and weights are shared.", 503, retryable=True
    ),
    ErrorCode.SIZE_INVALID: _refused("The model cannot make pictures of this size."),
    ErrorCode.SEED_INVALID: _refused("The engine cannot use this seed."),
    ErrorCode.MODE_INVALID: _refused("The engine does not know this mode."),
    ErrorCode.SINK_INVALID: _refused("The engine does not know this sink policy."),
    ErrorCode.TRANSITION_INVALID: _refused("The engine cannot make this transition."),
    ErrorCode.LENGTH_LIMIT: _refused("The session would be longer than the server allows."),
    ErrorCode.POSITION_LIMIT: _refused("The model has no positions for a video this long."),
    ErrorCode.RESTORE_MISMATCH: _refused("A journal, latents or copy do not belong together."),
    ErrorCode.OUT_OF_MEMORY: _ends("The device has no memory for it.", 503, CloseCode.INTERNAL, retryable=True),
    ErrorCode.GUARD_NOT_FINITE: _ends("A block came out as no numbers, twice.", 500, CloseCode.INTERNAL),
    ErrorCode.GUARD_BLACK: _ends("A block came out black, twice.", 500, CloseCode.INTERNAL),
    ErrorCode.GUARD_SATURATED: _ends("A block came out saturated, twice.", 500, CloseCode.INTERNAL),
    ErrorCode.GUARD_FROZEN: _ends("A block came out as the one before it, twice.", 500, CloseCode.INTERNAL),
    ErrorCode.ENGINE_ERROR: _refused("The engine refused, for a reason without a code of its own."),
    ErrorCode.BINARY_UNEXPECTED: _refused("A binary message came; clients send text only.", 400),
    ErrorCode.SESSION_NOT_STARTED: _refused("The message needs a session; `session.start` comes first.", 409),
    ErrorCode.SESSION_ALREADY_STARTED: _refused("This connection has its session already.", 409),
    ErrorCode.SESSION_STOPPING: _refused("The session is ending and takes no more messages.", 409),
    ErrorCode.EVENT_ID_CONFLICT: _refused("The `event_id` was used for another interaction.", 409),
    ErrorCode.INTERACTIONS_FULL: _refused("Too many interactions are waiting for their block.", 429, retryable=True),
    ErrorCode.SESSION_UNKNOWN: _refused("There is no such session, or it is no longer kept.", 404),
    ErrorCode.SESSION_LIVE: _refused("The session is live; it has to end first.", 409),
    ErrorCode.SESSION_ELSEWHERE: _ends(
        "Another server behind this address has the session; connect again.", 503, CloseCode.TRY_LATER, retryable=True
    ),
    ErrorCode.FORK_POINT_INVALID: _refused("The session has no such block, chunk or second."),
    ErrorCode.CURSOR_INVALID: _refused("The cursor does not come from an earlier page."),
    ErrorCode.LATENTS_MISSING: _refused("The session's latents are no longer all there.", 410),
    ErrorCode.STORE_FAILED: _ends("The store cannot be written or read.", 503, CloseCode.TRY_LATER, retryable=True),
    ErrorCode.STORE_BEHIND: _refused(
        "The store takes nothing now, and this needs it; the session goes on.", 503, retryable=True
    ),
    ErrorCode.STORE_VERSION_UNKNOWN: _refused(
        "The store's tables are of a version that this program does not know.", 500
    ),
    ErrorCode.BACKUP_INVALID: _refused("The backup is not whole, or is not one.", 422),
    ErrorCode.RECORD_INVALID: _refused("A document is not the record of a session."),
    ErrorCode.RECORDING_FAILED: _ends("A recording could not be made.", 503, CloseCode.TRY_LATER, retryable=True),
    ErrorCode.RESUME_TOKEN_INVALID: _refused("The resume token is not, or no longer, good for this session.", 403),
    ErrorCode.SESSION_ENDED: _refused("The session has ended; REST can let it go on.", 410),
    ErrorCode.CONNECTION_REPLACED: _ends("Another connection went on with the session.", 409, CloseCode.POLICY),
    ErrorCode.NOT_DIRECTOR: _refused("Only who directs the session may say this.", 403),
    ErrorCode.DIRECTION_NOT_OFFERED: _refused("The director has not offered to hand over.", 409),
    ErrorCode.FORMAT_MISMATCH: _refused("The session's frames are encoded in another format."),
    ErrorCode.LEASE_EXPIRED: _ends(
        "The session's connection showed no life, and its place is free.", 408, CloseCode.POLICY, retryable=True
    ),
    ErrorCode.PICTURE_INVALID: _refused("The picture is not a whole PNG, JPEG or WebP file."),
    ErrorCode.PICTURE_TOO_LARGE: _refused("The picture has more bytes or pixels than the limit.", 413),
    ErrorCode.PICTURE_UNKNOWN: _refused("There is no such picture, or it is no longer kept.", 404),
    ErrorCode.CLIP_INVALID: _refused("The clip is not a film, or too short to fill a block."),
    ErrorCode.OPENING_UNSUPPORTED: _refused("The model cannot start from a picture or a clip."),
    ErrorCode.RATE_LIMITED: _refused("Messages come faster than the limit.", 429, retryable=True),
    ErrorCode.START_TIMEOUT: _ends("No session was started in time.", 408, CloseCode.POLICY, retryable=True),
    ErrorCode.IDLE_TIMEOUT: _ends("The client said nothing for too long.", 408, CloseCode.POLICY, retryable=True),
    ErrorCode.SLOW_CONSUMER: _ends("The client did not take its data in time.", 408, CloseCode.POLICY, retryable=True),
    ErrorCode.CAPACITY: _ends("There is no free place now.", 503, CloseCode.TRY_LATER, retryable=True),
    ErrorCode.WORKER_UNAVAILABLE: _ends("The engine is not ready.", 503, CloseCode.TRY_LATER, retryable=True),
    ErrorCode.WORKER_DIED: _ends("The engine stopped in the middle.", 503, CloseCode.RESTART, retryable=True),
    ErrorCode.WORKER_STALLED: _ends("The engine did not answer in time.", 503, CloseCode.RESTART, retryable=True),
    ErrorCode.SERVER_DRAINING: _ends("The server is shutting down.", 503, CloseCode.GOING_AWAY, retryable=True),
    ErrorCode.QUEUE_FULL: _refused("Too many jobs wait.", 429, retryable=True),
    ErrorCode.DISK_FULL: _refused("The disk has less room than the service keeps free.", 507, retryable=True),
    ErrorCode.ATTEMPT_STALE: _refused("An attempt at a job that is not its present one.", 409),
    ErrorCode.JOB_SET_ASIDE: _refused("The job was being made each time when several workers were lost.", 500),
    ErrorCode.MEDIA_FAILED: _refused("The files of a finished job could not be made.", 500),
    ErrorCode.KEY_MISSING: _refused("A key is needed, and none came.", 401),
    ErrorCode.KEY_INVALID: _ends("The key is not known here, or was revoked.", 401, CloseCode.POLICY),
    ErrorCode.TOKEN_INVALID: _refused("The token is not known here, was used, or is too old.", 401),
    ErrorCode.SCOPE_MISSING: _refused("The key is not good for this.", 403),
    ErrorCode.QUOTA_EXCEEDED: _ends("The key has used up what it may.", 429, CloseCode.POLICY, retryable=True),
    ErrorCode.CONNECTIONS_FULL: _refused("There are too many connections of this key or address.", 429, retryable=True),
    ErrorCode.REQUEST_INVALID: _refused("What came is not HTTP.", 400),
    ErrorCode.REQUEST_TIMEOUT: _refused("The request did not arrive in time.", 408, retryable=True),
    ErrorCode.BODY_TOO_LARGE: _refused("The body is larger than the limit.", 413),
    ErrorCode.HEADERS_TOO_LARGE: _refused("The headers are too large or too many.", 431),
    ErrorCode.URL_INVALID: _refused("The URL is not one that the server takes."),
    ErrorCode.URL_FORBIDDEN: _refused("The URL leads to a private, reserved or unknown network."),
    ErrorCode.URL_FAILED: _refused("What the URL leads to could not be had."),
    ErrorCode.URL_TOO_LARGE: _refused("What the URL leads to has more bytes than the limit.", 413),
    ErrorCode.FORM_INVALID: _refused("The form cannot be read, or has too many or too large fields.", 400),
    ErrorCode.MEDIA_TYPE_UNSUPPORTED: _refused("The body is of a type that this address does not take.", 415),
    ErrorCode.RANGE_INVALID: _refused("The file has no such range of bytes.", 416),
    ErrorCode.IDEMPOTENCY_CONFLICT: _refused("The `Idempotency-Key` was used for another request."),
    ErrorCode.VIDEO_UNKNOWN: _refused("There is no such video, or it is no longer kept.", 404),
    ErrorCode.VIDEO_NOT_READY: _refused("The video is not ready, or will not come.", 409),
    ErrorCode.VIDEO_EXPIRED: _refused("The video's files are no longer kept.", 410),
    ErrorCode.BATCH_UNKNOWN: _refused("There is no such batch, or it is no longer kept.", 404),
    ErrorCode.BATCH_INVALID: _refused("The batch has no requests, too many, or two of one name."),
    ErrorCode.CLIP_TOO_LARGE: _refused("The clip has more bytes or pixels than the limit.", 413),
    ErrorCode.POLICY_REFUSED: _refused("The server's content policy does not allow this prompt.", 403),
    ErrorCode.HOOK_FAILED: _refused("What looks at prompts does not work now.", 503, retryable=True),
    ErrorCode.ORIGIN_FORBIDDEN: _refused("The page's origin is not allowed to connect.", 403),
    ErrorCode.SUBPROTOCOL_UNSUPPORTED: _refused("None of the offered subprotocols is spoken here.", 400),
    ErrorCode.NOT_FOUND: _refused("There is nothing at this address.", 404),
    ErrorCode.METHOD_NOT_ALLOWED: _refused("This address does not take this method.", 405),
    ErrorCode.INTERNAL_ERROR: _ends("A fault of the server.", 500, CloseCode.INTERNAL),
}


def facts_of(code: str) -> ErrorFacts:
    """The registry's entry; a code it does not have (a newer engine's) counts as a refused value."""
    try:
        return REGISTRY[ErrorCode(code)]
    except ValueError:
        return ErrorFacts("A refusal this version has no entry for.")
