"""Sampling and scoring on a transformers model in memory.

Architectures whose tokens attend to all before them run with the shared-prefix engine; any other
runs by plain batches, and that is said once.
"""

import sys
from collections.abc import Sequence
from typing import Protocol

import torch
from transformers import PreTrainedModel

from tacit.errors import ModelError
from tacit.models.plain import PlainBackend
from tacit.models.sampling import Completion, Request, Row
from tacit.models.shared import SharedPrefixBackend, supports
from tacit.models.trees import Item

MEMORY_GB = 2.0


class Backend(Protocol):
    """What runs a model."""

    memory: int

    def complete(self, rows: Sequence[Row]) -> None:
        """Sample each row to its end."""

    def score(self, items: Sequence[Item]) -> list[list[list[float]]]:
        """Return the log-probability of each option's tokens, in nats."""

    def forget(self) -> None:
        """Let go of what was computed with weights that have changed."""


class Engine:
    """One model in memory. Not thread-safe: one call at a time.

    Args:
        model: A causal language model, in eval mode.
        memory_gb: What a batch may take beside the weights: keys, values, scores, logits. It
            decides how many rows run together, and no result depends on it.
    """

    def __init__(self, model: PreTrainedModel, memory_gb: float = MEMORY_GB) -> None:
        self.context = int(model.config.get_text_config().max_position_embeddings)
        if supports(model):
            self.backend: Backend = SharedPrefixBackend(model, memory_gb)
        else:
            print(
                f"{model.config.model_type} models run by plain batches: each prompt is computed "
                "in full",
                file=sys.stderr,
            )
            self.backend = PlainBackend(model, memory_gb)
        self._attention: str = model.config._attn_implementation

    @property
    def attention(self) -> str:
        """The attention the model must be set to while this engine runs it, by its name."""
        return self._attention

    def _check_length(self, length: int) -> None:
        if length > self.context:
            raise ModelError(
                f"a prompt of {length} tokens (with its answer) exceeds the model's context of "
                f"{self.context}: shorten the prompt or max_tokens"
            )

    def forget(self) -> None:
        """Let go of what was computed with weights that have changed."""
        self.backend.forget()

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Continue each request; results stand in the order of the requests.

        Raises:
            ModelError: a prompt and its answer would exceed the model's context, or memory ran
                out twice.
        """
        for request in requests:
            self._check_length(request.length)
        rows = [Row(number, request) for number, request in enumerate(requests)]
        try:
            self.backend.complete(rows)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            self._less_memory(error)
            rows = [row if row.is_done else Row(row.number, row.request) for row in rows]
            try:
                self.backend.complete([row for row in rows if not row.is_done])
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as again:
                self._give_up(again)
        return [row.completion() for row in rows]

    def score(self, items: Sequence[Item]) -> list[list[float]]:
        """Return log P(option | prompt), in nats, summed over the option's tokens.

        Arguments and errors are those of `score_tokens`.
        """
        return [[sum(option) for option in item] for item in self.score_tokens(items)]

    def score_tokens(self, items: Sequence[Item]) -> list[list[list[float]]]:
        """Return the log-probability of each option's tokens, in nats, given prompt and option.

        Args:
            items: Pairs of prompt tokens and options, each option a non-empty run of tokens.

        Raises:
            ModelError: a prompt and an option exceed the model's context, or memory ran out twice.
        """
        for prompt, options in items:
            self._check_length(len(prompt) + max(map(len, options)))
        try:
            return self.backend.score(items)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            self._less_memory(error)
        try:
            return self.backend.score(items)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as again:
            self._give_up(again)
            raise

    def _less_memory(self, error: Exception) -> None:
        if not is_out_of_memory(error):
            raise error
        self.backend.memory //= 2
        print(
            f"out of memory: trying once more with memory_gb={self.backend.memory / 1e9:.2g}",
            file=sys.stderr,
        )

    def _give_up(self, error: Exception) -> None:
        if not is_out_of_memory(error):
            raise error
        raise ModelError(
            f"out of memory with memory_gb={self.backend.memory / 1e9:.2g} too: set memory_gb "
            "lower (-M memory_gb=…), or free memory"
        ) from None


def is_out_of_memory(error: Exception) -> bool:
    """Tell it by type or text: torch names its CPU allocator in a plain RuntimeError."""
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or "DefaultCPUAllocator" in str(error)
        or "can't allocate memory" in str(error)
    )
