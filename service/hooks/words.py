"""The built-in content policy: words and phrases from a file, none of which a prompt may have in it.

It knows texts; nothing of files or of who asks. Invariants: words are found whole, in any case, accent, width and
spacing, and through characters that cannot be seen; what is told to the client does not say which word it was.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from service.errors import ConfigError
from service.hooks.values import PromptContext, Verdict

_LOOKS_LIKE = str.maketrans("013457@$", "oieastas")
"""Digits and signs that stand for a letter inside of a word."""
_LETTERS = re.compile(r"[^\W_]+")
_REASON = "The prompt has something in it that this server's list of words does not allow."


@dataclass(frozen=True, slots=True)
class WordPolicy:
    """`phrases`: each as its words, with what the journal calls it."""

    phrases: dict[tuple[str, ...], str]
    name: str = "words"

    async def judge(self, text: str, context: PromptContext) -> Verdict:
        """Refuses where a phrase is in the text."""
        for words in {plain_words(text), plain_words(text.translate(_LOOKS_LIKE))}:
            rule = self._rule_in(words)
            if rule is not None:
                return Verdict(False, _REASON, rule)
        return Verdict(True)

    def _rule_in(self, words: tuple[str, ...]) -> str | None:
        for length in sorted({len(phrase) for phrase in self.phrases}):
            for start in range(len(words) - length + 1):
                rule = self.phrases.get(words[start : start + length])
                if rule is not None:
                    return rule
        return None


def word_policy(lines: Iterable[str]) -> WordPolicy:
    """From the lines of a list. Raises ConfigError where there is no word at all."""
    phrases = {
        plain_words(line): f"line {number}"
        for number, line in enumerate(lines, start=1)
        if not line.lstrip().startswith("#")
    }
    phrases.pop((), None)
    if not phrases:
        raise ConfigError("policy_words_file: expected one word or phrase a line, and found none")
    return WordPolicy(phrases)


def plain_words(text: str) -> tuple[str, ...]:
    """The words without case, accents, width and invisible characters."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    seen = "".join(letter for letter in apart if unicodedata.category(letter) not in ("Mn", "Cf"))
    return tuple(_LETTERS.findall(seen))
