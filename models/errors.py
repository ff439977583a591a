"""The errors of the engine.

    EngineError(ValueError)        something was asked that cannot be done; the stream it was asked of goes on
    ├── ConfigError                sizes or policies that do not fit together
    ├── PresetError                an unknown preset, or one that cannot be served
    ├── WeightsError               a file of weights that is damaged or of another model
    ├── PromptError                an empty, oversized or ill-weighted prompt
    ├── ChangeError                a prompt change with an unknown mode, sink policy or length
    ├── SeedError                  a seed out of range
    ├── OpeningError               a picture or clip that a stream cannot begin with
    ├── AdapterError               an adapter that is not known, or a scale out of range
    ├── RestoreError               a journal, latents or snapshot that do not belong together
    ├── PositionLimitError         absolute positions are used up; the stream has to end or cut
    ├── NotFiniteError             latents or pixels that are no numbers
    └── FaultyBlockError           a block that is faulty twice: it is not shown, and the stream does not go on

Every error carries a stable `code` and the `field` that is wrong. Broken invariants are assertions, not these.
"""


class EngineError(ValueError):
    """Base of everything the engine refuses. `code` is stable; `field` names the input that was wrong."""

    code = "engine_error"

    def __init__(self, message: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        if code is not None:
            self.code = code


class ConfigError(EngineError):
    code = "config_invalid"


class PresetError(EngineError):
    code = "model_unknown"


class WeightsError(EngineError):
    code = "model_files_invalid"


class PromptError(EngineError):
    code = "prompt_invalid"


class ChangeError(EngineError):
    code = "mode_invalid"


class SeedError(EngineError):
    code = "seed_invalid"


class OpeningError(EngineError):
    code = "picture_invalid"


class AdapterError(EngineError):
    code = "adapters_unknown"


class RestoreError(EngineError):
    code = "restore_mismatch"


class PositionLimitError(EngineError):
    code = "position_limit"


class NotFiniteError(EngineError):
    code = "guard_not_finite"


class FaultyBlockError(EngineError):
    """Raised with the code of the fault that was found: this one, or another of the guard's."""

    code = "guard_frozen"
