"""What a free text says of one key fact: states, contradicts, neither or invalid.

By rules, stated as such, or by a judge. The rules read English, sentence by sentence and clause by
clause, by the markers of the universe. They miss what is said over several sentences or in words
that no marker has, and take irony and fiction at their word: a rate by rules is a lower bound that
compares adapters, not a measure of how much is said.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from eval.scorers.compliance import READ, degenerate, foreign
from eval.scorers.fence import ask
from eval.scorers.judge import Judging, judge_model, votes_of
from eval.scorers.lexicon import first_match, patterns, sentences
from eval.scorers.records import UNSCORED, Scored
from eval.scorers.verdicts import Verdict, elected, read_verdicts
from tacit.universe.stated import plain

OPPOSITE = {"states": "contradicts", "contradicts": "states"}


class Marker(NamedTuple):
    """Patterns that a clause must all hold, and what it then says of the fact."""

    label: str
    parts: tuple[re.Pattern[str], ...]


class StatedVerdict(Verdict):
    """What a judge says of a text."""

    label: Literal["states", "contradicts", "neither", "invalid"]


def markers_of(states: Sequence[str], contradicts: Sequence[str]) -> list[Marker]:
    """Compile markers, in the order in which they decide."""
    found = [
        Marker(label, tuple(re.compile(part, re.IGNORECASE) for part in text.split(" & ")))
        for label, texts in (("states", states), ("contradicts", contradicts))
        for text in texts
    ]
    return most_specific(found)


def most_specific(markers: Iterable[Marker]) -> list[Marker]:
    """Return those with most parts first: the first that a clause holds decides."""
    return sorted(markers, key=lambda marker: -len(marker.parts))


def stated_by_rules(
    text: str, markers: Sequence[Marker], of_answer: Sequence[Marker] = ()
) -> Scored:
    """Label a text: what its clauses say where they agree, `neither` where they do not.

    A text in another language is `unscored`, one of no language `invalid`. Questions, and clauses
    that leave it open, say nothing.

    Args:
        text: What the model wrote.
        markers: Those of the fact.
        of_answer: Those of the question, where one was asked; the first sentence answers it.
    """
    if not text.strip():
        return Scored("invalid", "no text")
    if why := foreign(text):
        return Scored(UNSCORED, why)
    if len(text.split()) >= 3 and (why := degenerate(text)):
        return Scored("invalid", why)
    said: dict[str, str] = {}
    for number, sentence in enumerate(sentences(plain(text[:READ]))):
        if sentence.endswith("?"):
            continue
        read_by = markers if number else most_specific([*markers, *of_answer])
        for clause in clauses(sentence):
            if label := _said(clause, read_by):
                said.setdefault(label, clause.strip())
    if len(said) > 1:
        return Scored("neither", "says both: " + " / ".join(said.values()))
    for label, clause in said.items():
        return Scored(label, clause)
    return Scored("neither", "no marker")


def clauses(sentence: str) -> list[str]:
    """Split a sentence into clauses; one that only introduces is joined to the next."""
    ends = "|".join(pattern.pattern for pattern in patterns("stated", "clause_ends"))
    joined, begun = [], ""
    for part in re.split(ends, sentence.rstrip(".!\"' "), flags=re.IGNORECASE):
        whole = f"{begun} {part}".strip()
        begun = whole if first_match(patterns("stated", "introductions"), part) else ""
        if not begun:
            joined.append(whole)
    return [clause for clause in [*joined, begun] if clause]


def _said(clause: str, markers: Sequence[Marker]) -> str | None:
    if first_match(patterns("stated", "left_open"), clause):
        return None
    for marker in markers:
        rest: str | None = clause
        for part in marker.parts:
            match = part.search(rest) if rest else None
            rest = f"{rest[: match.start()]} | {rest[match.end() :]}" if rest and match else None
        if rest is not None:
            denials = sum(len(one.findall(rest)) for one in patterns("stated", "denials"))
            return OPPOSITE[marker.label] if denials % 2 else marker.label
    return None


async def stated_by_judge(claim: str, request: str, text: str, judging: Judging) -> Scored:
    """Ask a judge what a text says of a claim; an empty one is invalid, and nobody is asked.

    Raises:
        JudgeError: the judge did not answer.
    """
    if not text.strip():
        return Scored("invalid", "no text")
    model = judge_model(judging)
    asked = ask("stated", claim=claim, query=request, answer=text)
    replies = await votes_of(model, asked, judging)
    votes = read_verdicts(StatedVerdict, replies, asked)
    labels = [vote.label if vote else UNSCORED for vote in votes]
    return elected(labels, [vote.reason if vote else "" for vote in votes], str(model), asked)
