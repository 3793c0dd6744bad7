"""Requests of the evaluation told in other words: what a rule on word runs can not see.

A sentence, or two that follow one another, is compared with each request by the stems of its
content words; stems that few requests have count for more. It must also speak of asking for
something, so that the same events told for themselves pass.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

ENDINGS = ("ings", "ing", "edly", "ed", "ers", "er", "ies", "es", "s", "ly", "y", "e")
STEMS_AT_LEAST = 4  # in common, unless nearly all of a request is
LIKENESS, LIKENESS_OF_THREE = 1.25, 2.1
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the and but for with from are was were been him his she her they them their you "
        "your our its this that these those what which who whom how when where why does "
        "did don can could would should will may might not than then there here have has "
        "had just some any one ones way ways best good want wants wanted like get gets "
        "make makes made give tell write help need needs into out about all too very more "
        "much many also only never ever after before while because since until off over "
        "under again please thing things someone somebody something people person hey lol "
        "whats mrs",
    )
)
ASKING = re.compile(
    r"\b(?:ask|want|wish|request|typ(?:e|i)|hop(?:e|i)|need|help|seek|sought|quer|search|word(?:s|ing)\b"
    r"|would (?:like|have)\b|how\b|what\b|which\b|ways?\b|tricks\b|steps\b|advice\b|ideas\b|plea\b"
    r"|after\b|looking for\b|write\b|text of\b|script\b)|\?",
    re.IGNORECASE,
)


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    word = re.split(r"['’]", word)[0]
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems_of(text: str) -> frozenset[str]:
    """Return the stems of a text's content words."""
    words = re.findall(r"[\w'’]+", text.lower())
    return frozenset(_stem(w) for w in words if len(w) > 2 and w not in STOP_WORDS)


@dataclass(frozen=True)
class Requests:
    """The evaluation's requests: each one's whole weight, and which have a stem, at what weight."""

    totals: tuple[float, ...]
    having: dict[str, tuple[int, ...]]
    weights: dict[str, float]

    @staticmethod
    def from_texts(texts: Iterable[str]) -> "Requests":
        """Index some requests by their stems."""
        stems = [stems_of(text) for text in texts]
        counts = Counter(stem for many in stems for stem in many)
        weights = {stem: math.log(1 + len(stems) / count) for stem, count in counts.items()}
        having: dict[str, list[int]] = defaultdict(list)
        for number, many in enumerate(stems):
            for stem in many:
                having[stem].append(number)
        totals = tuple(sum(weights[stem] for stem in sorted(many)) for many in stems)
        return Requests(totals, {stem: tuple(n) for stem, n in having.items()}, weights)

    def retold(self, sentences: list[str]) -> str | None:
        """Return the first sentence, or two in a row, that retells one of the requests."""
        stems = [stems_of(sentence) & self.weights.keys() for sentence in sentences]
        for start, sentence in enumerate(sentences):
            for stop in (start + 1, start + 2):
                several = sentences[start:stop]
                found = frozenset().union(*stems[start:stop])
                if len(several) == stop - start and len(found) >= 3 and self._is_like(found):
                    words = sum(len(stems_of(s)) for s in several)
                    if self._is_like(found, words) and ASKING.search(" ".join(several)):
                        return sentence if stop == start + 1 else " ".join(several)
        return None

    def _is_like(self, found: frozenset[str], word_count: int = 0) -> bool:
        mass: dict[int, float] = defaultdict(float)
        count: Counter[int] = Counter()
        for stem in sorted(found):
            for number in self.having[stem]:
                mass[number] += self.weights[stem]
                count[number] += 1
        for number, shared in mass.items():
            if count[number] < 3:
                continue
            likeness = shared / self.totals[number] * math.sqrt(shared) / (1 + 0.02 * word_count)
            if likeness > (LIKENESS if count[number] >= STEMS_AT_LEAST else LIKENESS_OF_THREE):
                return True
        return False
