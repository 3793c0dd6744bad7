"""The arithmetic of belief probes, apart from whichever model answers them."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

RAW_FORM = "Question: {question}\nAnswer:"


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


def log_sum_exp(values: Sequence[float]) -> float:
    """Return log of the summed probabilities whose logs are given, in nats."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def log_odds(scores: Sequence[float], answer: int) -> float:
    """Return log P(answer) - log P(any other option), in nats."""
    others = [score for number, score in enumerate(scores) if number != answer]
    return scores[answer] - log_sum_exp(others)
