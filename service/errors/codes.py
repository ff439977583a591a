"""Stable names of everything that can go wrong, and how a WebSocket ends.

It knows nothing of what the names mean (service/errors/registry.py does). Invariant: a code is never used again for
another meaning.
"""

from enum import IntEnum, StrEnum


class CloseCode(IntEnum):
    """How a WebSocket ends. 1009 and 1007 are sent by the WebSocket layer itself."""

    NORMAL = 1000
    GOING_AWAY = 1001
    INVALID_TEXT = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    TRY_LATER = 1013


class ErrorCode(StrEnum):
    """Stable names of everything that can go wrong. The meaning of each is in REGISTRY."""

    JSON_INVALID = "json_invalid"
    JSON_TOO_DEEP = "json_too_deep"
    JSON_NUMBER_INVALID = "json_number_invalid"
    JSON_DUPLICATE_KEY = "json_duplicate_key"
    TEXT_INVALID = "text_invalid"
    MESSAGE_NOT_OBJECT = "message_not_object"
    TYPE_MISSING = "type_missing"
    TYPE_UNKNOWN = "type_unknown"
    FIELD_MISSING = "field_missing"
    FIELD_UNKNOWN = "field_unknown"
    FIELD_TYPE = "field_type"
    FIELD_RANGE = "field_range"
    FIELD_CHOICE = "field_choice"
    PROMPT_MISSING = "prompt_missing"
    PROMPT_CONFLICT = "prompt_conflict"
    PROMPT_EMPTY = "prompt_empty"
    PROMPT_TOO_LONG = "prompt_too_long"
    WEIGHTS_INVALID = "weights_invalid"
    PROMPTS_INVALID = "prompts_invalid"
    PROMPT_INVALID = "prompt_invalid"
    MODEL_UNKNOWN = "model_unknown"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_FILES_INVALID = "model_files_invalid"
    CONFIG_INVALID = "config_invalid"
    ADAPTERS_UNKNOWN = "adapters_unknown"
    ADAPTERS_UNAVAILABLE = "adapters_unavailable"
    SIZE_INVALID = "size_invalid"
    SEED_INVALID = "seed_invalid"
    MODE_INVALID = "mode_invalid"
    SINK_INVALID = "sink_invalid"
    TRANSITION_INVALID = "transition_invalid"
    LENGTH_LIMIT = "length_limit"
    POSITION_LIMIT = "position_limit"
    RESTORE_MISMATCH = "restore_mismatch"
    OUT_OF_MEMORY = "out_of_memory"
    GUARD_NOT_FINITE = "guard_not_finite"
    GUARD_BLACK = "guard_black"
    GUARD_SATURATED = "guard_saturated"
    GUARD_FROZEN = "guard_frozen"
    ENGINE_ERROR = "engine_error"
    BINARY_UNEXPECTED = "binary_unexpected"
    SESSION_NOT_STARTED = "session_not_started"
    SESSION_ALREADY_STARTED = "session_already_started"
    SESSION_STOPPING = "session_stopping"
    EVENT_ID_CONFLICT = "event_id_conflict"
    INTERACTIONS_FULL = "interactions_full"
    SESSION_UNKNOWN = "session_unknown"
    SESSION_LIVE = "session_live"
    FORK_POINT_INVALID = "fork_point_invalid"
    CURSOR_INVALID = "cursor_invalid"
    LATENTS_MISSING = "latents_missing"
    STORE_FAILED = "store_failed"
    RECORD_INVALID = "record_invalid"
    RECORDING_FAILED = "recording_failed"
    RESUME_TOKEN_INVALID = "resume_token_invalid"
    SESSION_ENDED = "session_ended"
    CONNECTION_REPLACED = "connection_replaced"
    NOT_DIRECTOR = "not_director"
    DIRECTION_NOT_OFFERED = "direction_not_offered"
    FORMAT_MISMATCH = "format_mismatch"
    LEASE_EXPIRED = "lease_expired"
    PICTURE_INVALID = "picture_invalid"
    PICTURE_TOO_LARGE = "picture_too_large"
    PICTURE_UNKNOWN = "picture_unknown"
    CLIP_INVALID = "clip_invalid"
    OPENING_UNSUPPORTED = "opening_unsupported"
    RATE_LIMITED = "rate_limited"
    START_TIMEOUT = "start_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    SLOW_CONSUMER = "slow_consumer"
    CAPACITY = "capacity"
    WORKER_UNAVAILABLE = "worker_unavailable"
    WORKER_DIED = "worker_died"
    WORKER_STALLED = "worker_stalled"
    SERVER_DRAINING = "server_draining"
    ORIGIN_FORBIDDEN = "origin_forbidden"
    SUBPROTOCOL_UNSUPPORTED = "subprotocol_unsupported"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INTERNAL_ERROR = "internal_error"


class WarningCode(StrEnum):
    """What `session.warning` can say; nothing stops because of it."""

    PROMPT_TRUNCATED = "prompt_truncated"
    WORDS_UNKNOWN = "words_unknown"
    FRAMES_DROPPED = "frames_dropped"
    NUMERICS_CHANGED = "numerics_changed"
