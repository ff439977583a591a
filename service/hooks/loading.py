"""The hooks that the settings name.

It knows settings and modules; nothing of prompts. Invariant: a hook that cannot be had keeps the service from starting
with a sentence that names the setting: it never starts without a policy that it was told to have.
"""

import importlib
from collections.abc import Callable
from typing import Any

from service.config import ServiceConfig
from service.errors import ConfigError
from service.hooks.fill import FillEnhancer
from service.hooks.prompting import PromptHooks, nobody_counts
from service.hooks.values import ContentPolicy, PromptEnhancer
from service.hooks.words import word_policy


def hooks_of(config: ServiceConfig, counted: Callable[[str], None] = nobody_counts) -> PromptHooks:
    """Raises ConfigError."""
    return PromptHooks(
        enhancer=_enhancer(config),
        policy=_policy(config),
        timeout=config.hook_timeout,
        most_chars=config.max_prompt_chars,
        counted=counted,
    )


def _enhancer(config: ServiceConfig) -> PromptEnhancer | None:
    match config.prompt_enhancer:
        case "none":
            return None
        case "fill":
            return FillEnhancer()
        case name:
            made: PromptEnhancer = _made(name, config, setting="prompt_enhancer", needed="enhance")
            return made


def _policy(config: ServiceConfig) -> ContentPolicy | None:
    match config.content_policy:
        case "none":
            return None
        case "words":
            return word_policy(_lines(config))
        case name:
            made: ContentPolicy = _made(name, config, setting="content_policy", needed="judge")
            return made


def _lines(config: ServiceConfig) -> list[str]:
    if config.policy_words_file is None:
        raise ConfigError("policy_words_file: expected the file of the list, as content_policy is `words`")
    try:
        return config.policy_words_file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"policy_words_file: {config.policy_words_file} cannot be read: {error}") from error


def _made(name: str, config: ServiceConfig, *, setting: str, needed: str) -> Any:
    """What the function MODULE:NAME makes of the settings."""
    module, _, attribute = name.partition(":")
    try:
        factory: Callable[[ServiceConfig], object] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{setting}: expected a built-in name or MODULE:NAME, not {name!r}: {error}") from error
    made = factory(config)
    if not callable(getattr(made, needed, None)) or not isinstance(getattr(made, "name", None), str):
        raise ConfigError(f"{setting}: {name} has to make something with a `name` and the method `{needed}`")
    return made
