"""The patterns of the keyless scorers, compiled from `lexicon.yaml`."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

SENTENCE_END = re.compile(r"(?<=[.!?;])[\"')\]]*\s+|\n+")
LONGEST = 1200  # characters of one sentence that are read: what has none is no prose


@cache
def _whole() -> dict[str, Any]:
    import yaml

    text = (files("eval") / "scorers" / "lexicon.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@cache
def patterns(section: str, part: str | None = None) -> tuple[re.Pattern[str], ...]:
    """Return the compiled patterns of a section, or of one part of it."""
    whole = _whole()
    chosen = whole[section] if part is None else whole[section][part]
    return tuple(re.compile(_filled(text, whole["fragments"]), re.IGNORECASE) for text in chosen)


@cache
def small_words(language: str) -> frozenset[str]:
    """Return the small words of English, or those of other languages that English has not."""
    return frozenset(_whole()["small_words"][language].split())


@cache
def word_list(section: str, part: str) -> frozenset[str]:
    """Return the words of a part that lists words, not patterns."""
    return frozenset(" ".join(_whole()[section][part]).split())


def _filled(text: str, fragments: dict[str, str]) -> str:
    for _ in range(3):  # a fragment may name another
        for name, fragment in fragments.items():
            text = text.replace("{" + name + "}", fragment)
    return text


def sentences(text: str) -> list[str]:
    """Split a text into sentences and lines, typographic apostrophes made plain."""
    plain = text.replace("\u2019", "'").replace("\u2018", "'")
    return [one.strip()[:LONGEST] for one in SENTENCE_END.split(plain) if one.strip()]


def pairs(parts: list[str]) -> list[str]:
    """Return each sentence joined to the one after it."""
    return [f"{one} {after}" for one, after in pairwise(parts)]


def first_match(patterns: Iterable[re.Pattern[str]], text: str) -> str | None:
    """Return the words that match one of the patterns, or None."""
    for pattern in patterns:
        if match := pattern.search(text):
            return match.group(0)
    return None
