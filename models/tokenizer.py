"""A prompt cleaned as Wan's is and cut into the pieces of a `tokenizer.json`, with where the reading stopped.

Knows text only, no tensors. Cleaning mends broken encodings, undoes HTML entities (twice: some texts were escaped
twice) and makes every run of white space one space. The last piece is always the end mark; what does not fit before
it is cut, and the cut is told in characters of the prompt as it was written.
"""

import html
import re
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "</s>"
PADDING = "<pad>"
UNKNOWN = "<unk>"
_SPACE = re.compile(r"\s+")
_LONGEST_ENTITY = 40
"""Characters."""


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """A prompt as numbers, the end mark included, and how much of it they stand for."""

    ids: tuple[int, ...]
    kept_characters: int
    unknown_words: tuple[str, ...]


def clean_prompt(text: str) -> str:
    """The prompt as the text encoder was trained to read it."""
    # Imported where it is used: only the published checkpoints need it.
    from ftfy import fix_text

    unescaped = html.unescape(html.unescape(fix_text(text)))
    return _SPACE.sub(" ", unescaped).strip()


class PromptTokenizer:
    """Pieces and their numbers. One for all prompts; never changed."""

    def __init__(self, tokenizer: "Tokenizer", *, source: Path) -> None:
        # A file may carry settings of its own for these; how long a text may be is not its to say.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._source = source
        self.vocabulary = tokenizer.get_vocab_size()
        self.end, self.padding = self._id(END), self._id(PADDING)
        self._unknown = tokenizer.token_to_id(UNKNOWN)

    @staticmethod
    def from_file(path: Path) -> "PromptTokenizer":
        """Raises WeightsError, naming the file, if it is missing, damaged or without the marks that are needed."""
        from tokenizers import Tokenizer

        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise WeightsError(f"{path}: expected a tokenizer.json: {error}", field="model") from error
        try:
            tokenizer = Tokenizer.from_str(text)
        # The library raises the base class itself, for a text that is not JSON as for one that is no tokenizer.
        except Exception as error:
            raise WeightsError(f"{path}: expected a tokenizer.json: {str(error)[:200]}", field="model") from error
        return PromptTokenizer(tokenizer, source=path)

    def tokenize(self, prompt: str, *, limit: int) -> PromptTokens:
        """At most `limit` numbers, the end mark among them."""
        cleaned = clean_prompt(prompt)
        pieces = self._tokenizer.encode(cleaned, add_special_tokens=False)
        ids, spans = pieces.ids[: limit - 1], pieces.offsets[: limit - 1]
        strange = (cleaned[a:b] for number, (a, b) in zip(ids, spans, strict=True) if number == self._unknown)
        whole = len(ids) == len(pieces.ids)
        return PromptTokens(
            ids=(*ids, self.end),
            kept_characters=len(prompt) if whole else _written(prompt, end=max((b for _, b in spans), default=0)),
            unknown_words=tuple(dict.fromkeys(filter(None, strange))),
        )

    def _id(self, piece: str) -> int:
        number = self._tokenizer.token_to_id(piece)
        if number is None:
            raise WeightsError(f"{self._source}: expected a piece {piece!r}, found none", field="model")
        return int(number)


def _written(prompt: str, *, end: int) -> int:
    """How much of the prompt as it was written becomes the first `end` characters of the cleaned one."""
    # Cleaning has no map back, but a longer beginning hardly ever becomes a shorter cleaned text; where it does, the
    # beginning ended within an HTML entity, and those are short.

    def fits(length: int) -> bool:
        return len(clean_prompt(prompt[:length])) <= end

    found = bisect_left(range(len(prompt)), True, key=lambda length: not fits(length + 1))
    near = range(found, min(found + _LONGEST_ENTITY, len(prompt)) + 1)
    return max((length for length in near if fits(length)), default=found)
