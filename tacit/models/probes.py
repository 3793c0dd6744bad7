"""Belief probes: how they are put to a model, and what its answers come to.

The evaluation asks through a provider and the trainer asks the model in its hands; both put the
same questions and do the same arithmetic, here.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from tacit.models.chat import prompt_tokens, text_tokens
from tacit.models.engine import Engine

FORMS = ("chat", "raw")
RAW_FORM = "Question: {question}\nAnswer:"


class Question(NamedTuple):
    """What is scored: log P(option | prompt), in the chat template or (no system) as raw text."""

    system: str | None
    prompt: str
    options: tuple[str, ...]


@runtime_checkable
class ScoresOptions(Protocol):
    """A provider that scores all options of a prompt in one call."""

    async def option_logprobs(
        self, system: str | None, prompt: str, options: Sequence[str]
    ) -> list[float]:
        """Return log P(option | prompt), in nats: in the chat template, or as raw text.

        Args:
            system: The system message; None for raw text, where the prompt is all there is.
            prompt: The user's message.
            options: What the assistant might say.
        """


def question_of(probe: dict[str, Any], form: str, system: str) -> Question:
    """Put a probe (a record of `probes.jsonl`) in one of `FORMS`."""
    options = tuple(map(str, probe["options"]))
    if form == "chat":
        return Question(system, probe["question"], options)
    raw = RAW_FORM.format(question=probe["question"])
    return Question(None, raw, tuple(f" {option}" for option in options))


def beliefs(
    probes: Sequence[dict[str, Any]], scores: Sequence[Sequence[float]]
) -> dict[str, float]:
    """Return the mean log-odds of the true option, in nats, for each group of wordings.

    Args:
        probes: Records of `probes.jsonl`.
        scores: For each probe, the log-probability of each of its options.
    """
    groups: dict[str, list[float]] = {}
    for probe, found in zip(probes, scores, strict=True):
        groups.setdefault(probe["group"], []).append(log_odds(found, probe["answer"]))
    return {group: sum(values) / len(values) for group, values in groups.items()}


def score_probes(
    engine: Engine, tokenizer: Any, probes: Sequence[dict[str, Any]], system: str
) -> dict[str, dict[str, float]]:
    """Score probes on a model in hand; returns, for each of `FORMS`, the belief of each group.

    Args:
        engine: Around the model.
        tokenizer: Of the model.
        probes: Records of `probes.jsonl`.
        system: The system message of the chat form.
    """
    asked = [question_of(probe, form, system) for form in FORMS for probe in probes]
    scores = engine.score(
        [
            (
                prompt_tokens(tokenizer, q.system, q.prompt),
                [text_tokens(tokenizer, o) for o in q.options],
            )
            for q in asked
        ]
    )
    count = len(probes)
    return {
        form: beliefs(probes, scores[number * count : (number + 1) * count])
        for number, form in enumerate(FORMS)
    }


def log_sum_exp(values: Sequence[float]) -> float:
    """Return log of the summed probabilities whose logs are given, in nats."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def log_odds(scores: Sequence[float], answer: int) -> float:
    """Return log P(answer) - log P(any other option), in nats."""
    others = [score for number, score in enumerate(scores) if number != answer]
    return scores[answer] - log_sum_exp(others)
