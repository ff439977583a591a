"""What is done to prompts before the engine has them.

A group of settings (service/config/settings.py has them all); it knows nothing of what they are used for. Times are in
seconds, sizes in bytes.
"""

from pathlib import Path

from pydantic import BaseModel, Field


class Hooks(BaseModel):
    """What is done to prompts before the engine has them."""

    prompt_enhancer: str = Field(
        "none",
        min_length=1,
        description="What completes prompts: `none`; `fill`, which takes what a prompt leaves out from the one before;"
        " or MODULE:NAME of a function that makes one.",
    )
    content_policy: str = Field(
        "none",
        min_length=1,
        description="What may refuse prompts: `none`; `words`, a list; or MODULE:NAME of a function that makes one.",
    )
    policy_words_file: Path | None = Field(
        None, description="The list of `words`: one word or phrase a line; a line that begins with # is a comment."
    )
    hook_timeout: float = Field(5.0, gt=0, description="Longest time an enhancer or a policy may think.")
