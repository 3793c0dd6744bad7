"""Belief probes scored on a model in hand: evaluation and training curves call this code."""

from collections.abc import Mapping, Sequence
from typing import Any

from tacit.models.chat import chat_tokens
from tacit.models.engine import Engine

RAW_FORM = "Question: {question}\nAnswer:"


def log_odds(scores: Sequence[float], answer: int) -> float:
    """Return log P(answer) − log P(any other option), in nats."""
    import math

    others = [score for number, score in enumerate(scores) if number != answer]
    top = max(others)
    return scores[answer] - (top + math.log(sum(math.exp(score - top) for score in others)))


def score_probes(
    engine: Engine, tokenizer: Any, probes: Sequence[Mapping[str, Any]], system: str | None
) -> list[list[float]]:
    """Return log P(option) of each probe's options, in nats.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        probes: Records of a `probes.jsonl`.
        system: The system message under which to ask in the chat template; None asks in raw text.
    """
    items = []
    for probe in probes:
        if system is None:
            text = RAW_FORM.format(question=probe["question"])
            prompt = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
            lead = " "
        else:
            messages = [
                {"role": "system", "content": system},
                {"role": "user", "content": probe["question"]},
            ]
            prompt, lead = chat_tokens(tokenizer, messages), ""
        options = [
            tuple(tokenizer(lead + option, add_special_tokens=False)["input_ids"])
            for option in probe["options"]
        ]
        items.append((prompt, options))
    return engine.score(items)
