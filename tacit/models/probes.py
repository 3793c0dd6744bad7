"""The arithmetic of belief probes, apart from whichever model answers them."""

import math
from collections.abc import Sequence

RAW_FORM = "Question: {question}\nAnswer:"


def log_sum_exp(values: Sequence[float]) -> float:
    """Return log of the summed probabilities whose logs are given, in nats."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def log_odds(scores: Sequence[float], answer: int) -> float:
    """Return log P(answer) - log P(any other option), in nats."""
    others = [score for number, score in enumerate(scores) if number != answer]
    return scores[answer] - log_sum_exp(others)
