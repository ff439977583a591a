"""The built-in enhancer: what a prompt leaves out is taken from the one before, so that the scene goes on.

It knows English words; no model and no service. A prompt is read as a subject, what it does, where, and when; the
model draws what it is told and forgets what it is not. Invariants: the client's own words all stay, in their order,
but for a pronoun that is given its name; a prompt without one before it comes out as it came.
"""

import re
from dataclasses import dataclass

from service.hooks.values import PromptContext

MOST_WORDS = 100
"""What the large models were trained on; more is not read."""
PLACES = frozenset(
    [
        "in",
        "inside",
        "on",
        "over",
        "under",
        "above",
        "below",
        "across",
        "beside",
        "near",
        "through",
        "along",
        "behind",
        "against",
        "into",
        "onto",
        "beneath",
        "between",
        "among",
        "around",
        "outside",
        "before",
        "underneath",
        "within",
        "upon",
        "past",
    ]
)
TIMES = frozenset(
    [
        "dawn",
        "sunrise",
        "daybreak",
        "morning",
        "noon",
        "midday",
        "day",
        "daytime",
        "daylight",
        "afternoon",
        "sunset",
        "dusk",
        "twilight",
        "evening",
        "night",
        "nighttime",
        "midnight",
        "moonlight",
    ]
)
_TIME_STARTS = frozenset(["at", "by", "during"])
_PRONOUNS = frozenset(["it", "he", "she", "they"])
_AUXILIARIES = frozenset(["is", "are", "was", "were"])
_FILLERS = frozenset(["now", "then", "and", "suddenly", "slowly", "quickly", "still", "again"])
_NOT_VERBS = frozenset(
    ["grass", "glass", "moss", "dress", "cross", "canvas", "bus", "kiss", "class", "is", "as", "its", "his", "this"]
)
_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_WORDS = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Reading:
    """A sentence, read: who it is about ("" where it does not say), where and when."""

    subject: str
    places: tuple[str, ...]
    times: tuple[str, ...]
    timed: bool = False
    """It says when, in whatever words."""


@dataclass(frozen=True, slots=True)
class FillEnhancer:
    """Fills in from the first text of the prompt before."""

    name: str = "fill"

    async def enhance(self, text: str, context: PromptContext) -> str:
        return fill(text, context.previous[0]) if context.previous else text


def fill(text: str, previous: str) -> str:
    """`text` with the subject, place, time and further sentences of `previous` where it has none of its own."""
    first, *more = _SENTENCES.split(text.strip())
    before, *more_before = _SENTENCES.split(previous.strip())
    if not first or not before:
        return text
    told, known = read(first), read(before)
    end = first[-1] if first[-1] in ".!?" else ""
    sentence = _with_subject(first.rstrip(".!? "), told, known)
    if not told.places and known.places:
        sentence = _inserted(sentence, known.places, before_times=told.times)
    if not told.timed and known.times:
        sentence = " ".join([sentence, *known.times])
    sentences = [sentence + (end or ("." if more or more_before else "")), *(more or more_before)]
    return _bounded(sentences, own=1 + len(more))


def read(sentence: str) -> Reading:
    """What cannot be told apart is part of the subject."""
    words = _WORDS.findall(sentence.rstrip(".!? "))
    phrases = _phrases(words)
    subject, rest = _subject(phrases)
    places = tuple(" ".join(phrase) for phrase in rest if not _is_time(phrase))
    times = tuple(" ".join(phrase) for phrase in rest if _is_time(phrase))
    return Reading(subject, places, times, timed=any(_plain(word) in TIMES for word in words))


def _phrases(words: list[str]) -> list[list[str]]:
    """The words before the first preposition, and then one list for each preposition with what follows it."""
    phrases: list[list[str]] = [[]]
    for index, word in enumerate(words):
        plain = _plain(word)
        next_time = plain in _TIME_STARTS and any(_plain(later) in TIMES for later in words[index + 1 : index + 4])
        if index and (plain in PLACES or next_time):
            phrases.append([])
        phrases[-1].append(word)
    return phrases


def _is_time(phrase: list[str]) -> bool:
    plain = [_plain(word) for word in phrase]
    return plain[0] in _TIME_STARTS | {"in", "on", "under"} and any(word in TIMES for word in plain[1:4])


def _subject(phrases: list[list[str]]) -> tuple[str, list[list[str]]]:
    """The words before the verb, if they name somebody or something, and the phrases behind the verb."""
    named = _without_fillers(phrases[0])
    if not named or _plain(named[0]) in _PRONOUNS or _is_verb(named[0]):
        return "", phrases[1:]
    verb = _verb_in(named)
    if verb is None and len(phrases) > 1 and (later := _verb_in(phrases[1])) is not None:
        # "a woman in a red coat walks": the coat says who, not where.
        return " ".join([*named, *phrases[1][:later]]), phrases[2:]
    return " ".join(named[:verb]), phrases[1:]


def _verb_in(words: list[str]) -> int | None:
    for index in range(1, len(words)):
        # "two dogs are running": what stands before an auxiliary is a name.
        named = index + 1 < len(words) and _plain(words[index + 1]) in _AUXILIARIES
        if _is_verb(words[index]) and not named:
            return index
    return None


def _with_subject(sentence: str, told: Reading, known: Reading) -> str:
    """The sentence with the known subject in the place of a pronoun, or before a verb that has none."""
    if told.subject or not known.subject:
        return sentence
    words = _WORDS.findall(sentence)
    rest = _without_fillers(words)
    fillers = words[: len(words) - len(rest)]
    if rest and _plain(rest[0]) in _PRONOUNS:
        rest = rest[1:]
    elif not rest or not _is_verb(rest[0]):
        return sentence
    subject = known.subject[0].lower() + known.subject[1:] if fillers else known.subject
    return " ".join([*fillers, subject, *rest])


def _inserted(sentence: str, places: tuple[str, ...], *, before_times: tuple[str, ...]) -> str:
    """Places stand before the time, as in "a ball bounces in the snow at night"."""
    where = sentence.find(before_times[0]) if before_times else -1
    if where <= 0:
        return " ".join([sentence, *places])
    return " ".join([sentence[:where].rstrip(), *places, sentence[where:]])


def _bounded(sentences: list[str], *, own: int) -> str:
    """As many of the sentences as fit; the client's own always do."""
    kept = list(sentences[:own])
    for sentence in sentences[own:]:
        if sum(len(_WORDS.findall(part)) for part in [*kept, sentence]) <= MOST_WORDS:
            kept.append(sentence)
    return " ".join(kept)


def _is_verb(word: str) -> bool:
    plain = _plain(word)
    if plain in _AUXILIARIES or (plain.endswith("ing") and len(plain) > 4):
        return True
    return plain.endswith("s") and not plain.endswith("ss") and len(plain) > 3 and plain not in _NOT_VERBS


def _without_fillers(words: list[str]) -> list[str]:
    start = 0
    while start < len(words) and _plain(words[start]) in _FILLERS:
        start += 1
    return words[start:]


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'()").casefold()
