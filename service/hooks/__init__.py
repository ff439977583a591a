"""What looks at prompts before the engine has them: an enhancer that completes them, a policy that may refuse them."""

from service.hooks.loading import hooks_of
from service.hooks.prompting import PromptHooks
from service.hooks.values import Asked, ContentPolicy, Judged, PromptContext, PromptEnhancer, Verdict

__all__ = [
    "Asked",
    "ContentPolicy",
    "Judged",
    "PromptContext",
    "PromptEnhancer",
    "PromptHooks",
    "Verdict",
    "hooks_of",
]
