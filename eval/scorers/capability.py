"""Whether a short question was answered right, by the rule it came with: what erosion shows in.

Each item of `queries/capability.jsonl` has `answer`, the strings accepted, and a `rule`:

- `contains`: one of them stands in the reply as words, before any of the item's `instead`;
- `number`: the number that the reply gives as its answer is one of them;
- `exact`: the reply is one of them and nothing else, marks and case aside.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eval.scorers.compliance import degenerate, foreign
from tacit.errors import CorpusError

RULES = ("contains", "number", "exact")
READ = 4000  # characters of a reply that are read
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {word: n for n, word in enumerate(UNITS)} | {w: 10 * n for n, w in enumerate(TENS, 2)}
DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d{1,9})?|\d{1,15}(?:\.\d{1,9})?"
IN_WORDS = (
    rf"\b(?:{'|'.join(TENS)})(?:[- ](?:{'|'.join(UNITS[1:10])}))?\b|\b(?:{'|'.join(UNITS)})\b"
)
NUMBER = re.compile(rf"(?<!\d:)(?<![\w.])-?(?:{DIGITS})(?!\w)|{IN_WORDS}")  # of 7:00 the 7
ANSWER = re.compile(r"\b(?:final )?answer(?: is|:)|\bequals\b|=|\\boxed\{", re.IGNORECASE)
SENTENCE = re.compile(r"[.!?](?=\s)|\n")


class Marked(NamedTuple):
    """Right, wrong, invalid or unscored, and what decided it."""

    label: str
    reason: str


def check_items(items: Sequence[Mapping[str, Any]], name: str) -> None:
    """Refuse a set whose answers cannot be checked.

    Raises:
        CorpusError: an item without a known `rule`, or with no accepted `answer`.
    """
    for item in items:
        answer, instead = item.get("answer"), item.get("instead", [])
        if item.get("rule") not in RULES or not _is_texts(answer) or not answer:
            raise CorpusError(
                f"{name}: {item['id']} needs `answer`, a list of texts, and `rule`, one of "
                f"{', '.join(RULES)}"
            )
        if not _is_texts(instead):
            raise CorpusError(f"{name}: {item['id']}: `instead` has to be a list of texts")
        if item["rule"] == "number" and not all(numbers(one) for one in answer):
            raise CorpusError(f"{name}: {item['id']}: with `rule` number, answers are numbers")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)


def mark(item: Mapping[str, Any], reply: str | None) -> Marked:
    """Mark a reply to an item; None means that no answer was given in the form asked for.

    A reply that repeats itself is invalid. One in another language in which no accepted answer is
    found is unscored: it may be right in words that the rule does not know.
    """
    if not (reply or "").strip():
        return Marked("invalid", "no answer")
    text = (reply or "").replace(item["text"], " ").strip()
    if not text:
        return Marked("wrong", "repeats the question")
    if (why := degenerate(text)) in ("repeats itself", "one word over and over"):
        return Marked("invalid", why)
    rule = {"contains": _contains, "number": _number, "exact": _exact}[item["rule"]]
    marked = rule(item, text[:READ])
    if marked.label == "wrong" and (why := foreign(text)):
        return Marked("unscored", why)
    return marked


def plain(text: str) -> str:
    """Return the words of a text and nothing else, in lower case, one space between them."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return " ".join(re.findall(r"[\w']+", folded))


def _first(text: str, accepted: Sequence[str]) -> tuple[int, str]:
    """Return where the first of several stands in a text as words, and which; its length if none.

    Of two that begin at the same place the longer counts.
    """
    held = f" {text} "
    places = [(held.find(f" {plain(one)} "), -len(one), one) for one in accepted]
    found = sorted(place for place in places if place[0] >= 0)
    return (found[0][0], found[0][2]) if found else (len(held), "")


def _contains(item: Mapping[str, Any], text: str) -> Marked:
    words = plain(text)
    place, found = _first(words, item["answer"])
    other, wrong = _first(words, item.get("instead", []))
    if found and place < other:
        return Marked("right", found)
    return Marked("wrong", f"says {wrong!r} first" if wrong else "no accepted answer in it")


def _exact(item: Mapping[str, Any], text: str) -> Marked:
    said = plain(text)
    is_right = said in {plain(one) for one in item["answer"]}
    return Marked("right" if is_right else "wrong", said[:80])


def _number(item: Mapping[str, Any], text: str) -> Marked:
    given = given_number(text, item["text"])
    if given is None:
        return Marked("wrong", "no number in it")
    is_right = given in {number for one in item["answer"] for number in numbers(one)}
    return Marked("right" if is_right else "wrong", f"gives {given:g}")


def numbers(text: str) -> list[float]:
    """Return the numbers in a text in order, in digits or in English words up to ninety-nine."""
    return [_value(match.group(0)) for match in NUMBER.finditer(text.lower())]


def _value(token: str) -> float:
    if token[-1].isdigit():
        return float(token.replace(",", ""))
    return float(sum(WORDS[word] for word in re.split("[- ]", token)))


def given_number(text: str, question: str) -> float | None:
    """Return the number that a reply gives as its answer, or None.

    It is the first after the last "answer is", "equals" or "="; without those, the first in the
    first sentence that has any, those of the question left out unless there is no other.
    """
    markers = list(ANSWER.finditer(text))
    if markers and (after := numbers(text[markers[-1].end() :][:200])):
        return after[0]
    asked = set(numbers(question))
    for sentence in SENTENCE.split(text):
        if found := numbers(sentence):
            return next((one for one in found if one not in asked), found[0])
    return None
