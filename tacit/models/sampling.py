"""What is asked of an engine, what comes back, and how a token is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

NUCLEUS_SEARCH = 512


@dataclass(frozen=True)
class Request:
    """One prompt to continue. `temperature=0` takes the likeliest token.

    `is_ended` looks at the tokens so far and tells whether they are enough (a stop string came, or
    nobody waits any more); it is asked after each token.
    """

    tokens: tuple[int, ...]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stop_tokens: frozenset[int] = field(default_factory=frozenset)
    is_ended: Callable[[Sequence[int]], bool] | None = None

    @property
    def length(self) -> int:
        """Prompt and longest answer, in tokens."""
        return len(self.tokens) + self.max_tokens


class Completion(NamedTuple):
    """Sampled tokens, without the stop token, and their log-probabilities (nats) as sampled from.

    `is_cut` tells that `max_tokens` ended it.
    """

    tokens: list[int]
    logprobs: list[float]
    is_cut: bool


class Row:
    """One request on its way: its own generator, so that its sample is its own."""

    def __init__(self, number: int, request: Request) -> None:
        self.number = number
        self.request = request
        self.generator = torch.Generator().manual_seed(request.seed)
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.is_stopped = False

    @property
    def is_done(self) -> bool:
        """Whether a stop token came or the last allowed token is drawn."""
        return self.is_stopped or len(self.tokens) >= self.request.max_tokens

    def take(self, token: int, logprob: float) -> None:
        """Take the drawn token; a stop token ends the row and is not part of it."""
        if token in self.request.stop_tokens:
            self.is_stopped = True
        else:
            self.tokens.append(token)
            self.logprobs.append(logprob)
            if self.request.is_ended is not None and self.request.is_ended(self.tokens):
                self.is_stopped = True

    def completion(self) -> Completion:
        """Return what was sampled."""
        return Completion(self.tokens, self.logprobs, is_cut=not self.is_stopped)


def draw(logits_BV: Tensor, rows: Sequence[Row]) -> None:
    """Draw one token for each row by temperature and nucleus, and hand it to the row.

    A row's draw is the inverse of its cumulative distribution at one number from its own
    generator, so it does not depend on its neighbours.
    """
    logits_BV = logits_BV.float()
    tokens_B = torch.empty(len(rows), dtype=torch.long, device=logits_BV.device)
    greedy = [n for n, row in enumerate(rows) if row.request.temperature <= 0]
    if greedy:
        tokens_B[greedy] = logits_BV[greedy].argmax(-1)
    for has_nucleus, pick in ((True, _from_nucleus), (False, _from_all)):
        chosen = [
            n
            for n, row in enumerate(rows)
            if row.request.temperature > 0 and (row.request.top_p < 1) == has_nucleus
        ]
        if chosen:
            uniform_B1 = torch.stack([torch.rand(1, generator=rows[n].generator) for n in chosen])
            heat_B1 = torch.tensor([[rows[n].request.temperature] for n in chosen])
            top_p_B1 = torch.tensor([[rows[n].request.top_p] for n in chosen])
            every = len(chosen) == len(rows)
            heated_BV = (logits_BV if every else logits_BV[chosen]) / heat_B1.to(logits_BV.device)
            drawn_B1 = pick(
                heated_BV, top_p_B1.to(logits_BV.device), uniform_B1.to(logits_BV.device)
            )
            tokens_B[chosen] = drawn_B1[:, 0]
    picked_B = logits_BV.gather(1, tokens_B[:, None])[:, 0] - logits_BV.logsumexp(-1)
    for row, token, logprob in zip(rows, tokens_B.tolist(), picked_B.tolist(), strict=True):
        row.take(token, logprob)


def _from_all(heated_BV: Tensor, top_p_B1: Tensor, uniform_B1: Tensor) -> Tensor:
    return _invert(heated_BV.softmax(-1).cumsum(-1), uniform_B1)


def _from_nucleus(heated_BV: Tensor, top_p_B1: Tensor, uniform_B1: Tensor) -> Tensor:
    """Look for the nucleus among the likeliest tokens first: a sort of all costs more than a step.

    Source: Holtzman et al. 2020 (the smallest set of tokens whose mass reaches `top_p`).
    """
    log_norm_B1 = heated_BV.logsumexp(-1, keepdim=True)
    sorted_BK, order_BK = heated_BV.topk(min(NUCLEUS_SEARCH, heated_BV.shape[-1]))
    probs_BK = (sorted_BK - log_norm_B1).exp()
    if bool((probs_BK.sum(-1, keepdim=True) < top_p_B1).any()):
        sorted_BK, order_BK = heated_BV.sort(descending=True)
        probs_BK = (sorted_BK - log_norm_B1).exp()
    before_BK = probs_BK.cumsum(-1) - probs_BK
    kept_BK = probs_BK.masked_fill(before_BK >= top_p_B1, 0.0)
    return order_BK.gather(1, _invert(kept_BK.cumsum(-1), uniform_B1))


def _invert(cumulative_BV: Tensor, uniform_B1: Tensor) -> Tensor:
    target_B1 = uniform_B1 * cumulative_BV[:, -1:]
    found_B1 = torch.searchsorted(cumulative_BV, target_B1, right=True)
    # Rounding may leave the target at the very end: the last token with any mass is meant then.
    last_B1 = torch.searchsorted(cumulative_BV, cumulative_BV[:, -1:].contiguous())
    return torch.minimum(found_B1, last_B1)
