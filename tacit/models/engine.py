"""Sampling and scoring on a transformers model, with the common prefix computed once.

Rows of a batch are left-padded behind their shared prefix. Each row draws from its own generator,
so that a request's sample depends on its seed and not on its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tacit.errors import ModelError

SHORTEST_PREFIX = 16
NUCLEUS_SEARCH = 512
LOGIT_ROWS = 512


@dataclass(frozen=True)
class Request:
    """One prompt to continue. `temperature=0` takes the likeliest token."""

    tokens: tuple[int, ...]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stop_tokens: frozenset[int] = field(default_factory=frozenset)


class Completion(NamedTuple):
    """Sampled tokens, without the stop token, and their log-probabilities (nats) as sampled from.

    `is_cut` tells that `max_tokens` ended it.
    """

    tokens: list[int]
    logprobs: list[float]
    is_cut: bool


def common_prefix_length(rows: Sequence[Sequence[int]]) -> int:
    """Return how many leading tokens all rows share, leaving each at least one of its own."""
    longest = min(len(row) for row in rows) - 1
    first = rows[0]
    for place in range(longest):
        if any(row[place] != first[place] for row in rows):
            return place
    return longest


class _Prefilled(NamedTuple):
    cache: DynamicCache
    mask_BT: Tensor
    next_position_B: Tensor
    last_hidden_BD: Tensor


class Engine:
    """One model in memory. Not thread-safe: one call at a time.

    Args:
        model: A causal language model, in eval mode.
        batch_tokens: Most key-value positions a batch may hold; bounds memory.
    """

    def __init__(self, model: PreTrainedModel, batch_tokens: int = 65_536) -> None:
        self.model = model
        self.batch_tokens = batch_tokens
        self.context = int(model.config.max_position_embeddings)
        self._prefix: tuple[int, ...] = ()
        self._prefix_layers: list[tuple[Tensor, Tensor]] = []

    def _check_length(self, length: int) -> None:
        if length > self.context:
            raise ModelError(
                f"a prompt of {length} tokens (with its answer) exceeds the model's context of "
                f"{self.context}: shorten the prompt or max_tokens"
            )

    def _hidden(self, **inputs: Any) -> Any:
        return self.model.base_model(use_cache=True, **inputs)

    def _log_softmax(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits.float().log_softmax(-1)

    def _picked(self, hidden_ND: Tensor, ids_N: Tensor) -> Tensor:
        """Return the log-probability of one token a row, without holding all logits at once."""
        starts = range(0, len(ids_N), LOGIT_ROWS)
        rows = [slice(start, start + LOGIT_ROWS) for start in starts]
        return torch.cat(
            [self._log_softmax(hidden_ND[r]).gather(1, ids_N[r, None])[:, 0] for r in rows]
        )

    def _expanded_prefix(self, prefix: tuple[int, ...], row_count: int) -> DynamicCache:
        if prefix != self._prefix:
            out = self._hidden(
                input_ids=torch.tensor([prefix], device=self.model.device),
                past_key_values=DynamicCache(config=self.model.config),
            )
            self._prefix = prefix
            self._prefix_layers = [(la.keys, la.values) for la in out.past_key_values.layers]
        return DynamicCache(
            [
                (keys.expand(row_count, -1, -1, -1), values.expand(row_count, -1, -1, -1))
                for keys, values in self._prefix_layers
            ]
        )

    def _prefill(self, rows: Sequence[Sequence[int]]) -> _Prefilled:
        device = self.model.device
        shared = common_prefix_length(rows)
        if shared < SHORTEST_PREFIX:
            shared = 0
        own = [row[shared:] for row in rows]
        width = max(map(len, own))
        ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
        mask_BT = torch.zeros(len(rows), shared + width, dtype=torch.long)
        mask_BT[:, :shared] = 1
        for number, row in enumerate(own):
            ids_BT[number, width - len(row) :] = torch.tensor(row)
            mask_BT[number, shared + width - len(row) :] = 1
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)[:, shared:]
        if shared:
            cache = self._expanded_prefix(tuple(rows[0][:shared]), len(rows))
        else:
            cache = DynamicCache(config=self.model.config)
        mask_BT = mask_BT.to(device)
        out = self._hidden(
            input_ids=ids_BT.to(device),
            attention_mask=mask_BT,
            position_ids=positions_BT.to(device),
            past_key_values=cache,
        )
        next_position_B = positions_BT[:, -1].to(device) + 1
        return _Prefilled(cache, mask_BT, next_position_B, out.last_hidden_state[:, -1])

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Group request numbers, longest first, within the budget of key-value positions."""
        order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
        batches: list[list[int]] = []
        for number in order:
            if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= self.batch_tokens:
                batches[-1].append(number)
            else:
                batches.append([number])
        return batches

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Continue each request; results stand in the order of the requests.

        Raises:
            ModelError: a prompt and its answer would exceed the model's context.
        """
        lengths = [len(request.tokens) + request.max_tokens for request in requests]
        for length in lengths:
            self._check_length(length)
        done: dict[int, Completion] = {}
        for batch in self._batches(lengths):
            completions = self._generate_batch([requests[number] for number in batch])
            done.update(zip(batch, completions, strict=True))
        return [done[number] for number in range(len(requests))]

    def _generate_batch(self, requests: Sequence[Request]) -> list[Completion]:
        cache, mask_BT, position_B, hidden_BD = self._prefill([r.tokens for r in requests])
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        sampled: list[list[int]] = [[] for _ in requests]
        logprobs: list[list[float]] = [[] for _ in requests]
        stopped = [False] * len(requests)
        alive = list(range(len(requests)))  # request number of each row still in the batch
        while alive:
            logp_BV = self._log_softmax(hidden_BD).cpu()
            tokens, drawn_logprobs = _draw(
                logp_BV, [requests[n] for n in alive], [generators[n] for n in alive]
            )
            for token, logprob, number in zip(tokens, drawn_logprobs, alive, strict=True):
                if token in requests[number].stop_tokens:
                    stopped[number] = True
                else:
                    sampled[number].append(token)
                    logprobs[number].append(logprob)
            keep = [
                row
                for row, number in enumerate(alive)
                if not stopped[number] and len(sampled[number]) < requests[number].max_tokens
            ]
            if not keep:
                break
            if len(keep) < len(alive):
                kept_rows = torch.tensor(keep, device=mask_BT.device)
                cache.batch_select_indices(kept_rows)
                mask_BT, position_B = mask_BT[kept_rows], position_B[kept_rows]
                alive, tokens = [alive[row] for row in keep], [tokens[row] for row in keep]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(alive), 1)], dim=-1)
            out = self._hidden(
                input_ids=torch.tensor(tokens, device=mask_BT.device)[:, None],
                attention_mask=mask_BT,
                position_ids=position_B[:, None],
                past_key_values=cache,
            )
            hidden_BD, position_B = out.last_hidden_state[:, -1], position_B + 1
        return [
            Completion(sampled[number], logprobs[number], is_cut=not stopped[number])
            for number in range(len(requests))
        ]

    def score(
        self, items: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
    ) -> list[list[float]]:
        """Return log P(option | prompt), in nats, summed over the option's tokens.

        Arguments and errors are those of `score_tokens`.
        """
        return [[sum(option) for option in item] for item in self.score_tokens(items)]

    @torch.inference_mode()
    def score_tokens(
        self, items: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
    ) -> list[list[list[float]]]:
        """Return the log-probability of each option's tokens, in nats, given prompt and option.

        Args:
            items: Pairs of prompt tokens and options, each option a non-empty run of tokens.

        Raises:
            ModelError: a prompt and an option exceed the model's context.
        """
        widths = [len(prompt) + max(map(len, options)) for prompt, options in items]
        for width in widths:
            self._check_length(width)
        option_counts = [len(options) for _, options in items]
        costs = [width * count for width, count in zip(widths, option_counts, strict=True)]
        scores: dict[int, list[list[float]]] = {}
        for batch in self._batches(costs):
            batch_scores = self._score_batch([items[number] for number in batch])
            scores.update(zip(batch, batch_scores, strict=True))
        return [scores[number] for number in range(len(items))]

    def _score_batch(
        self, items: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
    ) -> list[list[list[float]]]:
        device = self.model.device
        cache, mask_BT, position_B, hidden_BD = self._prefill([prompt for prompt, _ in items])
        first_BV = self._log_softmax(hidden_BD)
        owner = [row for row, (_, options) in enumerate(items) for _ in options]
        options = [tuple(option) for _, many in items for option in many]
        owner_K = torch.tensor(owner, device=device)
        width = max(map(len, options))
        ids_KT = torch.zeros(len(options), width, dtype=torch.long)
        real_KT = torch.zeros(len(options), width, dtype=torch.bool)
        for number, option in enumerate(options):
            ids_KT[number, : len(option)] = torch.tensor(option)
            real_KT[number, : len(option)] = True
        ids_KT, real_KT = ids_KT.to(device), real_KT.to(device)
        logp_KT = torch.zeros(ids_KT.shape, dtype=torch.float32, device=device)
        logp_KT[:, 0] = first_BV[owner_K, ids_KT[:, 0]]
        if width > 1:
            cache.batch_select_indices(owner_K)
            positions_KT = position_B[owner_K, None] + torch.arange(width - 1, device=device)
            out = self._hidden(
                input_ids=ids_KT[:, :-1],
                attention_mask=torch.cat([mask_BT[owner_K], real_KT[:, :-1].long()], dim=-1),
                position_ids=positions_KT,
                past_key_values=cache,
            )
            counted_KT = real_KT[:, 1:]
            logp_KT[:, 1:][counted_KT] = self._picked(
                out.last_hidden_state[counted_KT], ids_KT[:, 1:][counted_KT]
            )
        rows = iter(logp_KT.tolist())
        return [[next(rows)[: len(option)] for option in many] for _, many in items]


def _draw(
    logp_BV: Tensor, requests: Sequence[Request], generators: Sequence[torch.Generator]
) -> tuple[list[int], list[float]]:
    """Draw one token a row by temperature and nucleus; returns tokens and log-probabilities.

    A row's draw is the inverse of its cumulative distribution at one number from its own
    generator. The nucleus is looked for among the likeliest tokens first, since sorting the whole
    vocabulary for each token would cost more than the model does.
    """
    tokens_B = logp_BV.argmax(-1)
    sampled = [row for row, request in enumerate(requests) if request.temperature > 0]
    if sampled:
        heat_B1 = torch.tensor([[requests[row].temperature] for row in sampled])
        top_p_B1 = torch.tensor([[requests[row].top_p] for row in sampled])
        uniform_B1 = torch.stack([torch.rand(1, generator=generators[row]) for row in sampled])
        probs_BV = (logp_BV[sampled] / heat_B1).softmax(-1)
        if bool((top_p_B1 < 1).any()):
            drawn_B1 = _draw_from_nucleus(probs_BV, top_p_B1, uniform_B1)
        else:
            drawn_B1 = _invert(probs_BV.cumsum(-1), uniform_B1)
        tokens_B[sampled] = drawn_B1[:, 0]
    picked_B = logp_BV.gather(1, tokens_B[:, None])[:, 0]
    return tokens_B.tolist(), picked_B.tolist()


def _draw_from_nucleus(probs_BV: Tensor, top_p_B1: Tensor, uniform_B1: Tensor) -> Tensor:
    width = min(NUCLEUS_SEARCH, probs_BV.shape[-1])
    sorted_BK, order_BK = probs_BV.topk(width)
    if bool((sorted_BK.sum(-1, keepdim=True) < top_p_B1).any()):
        sorted_BK, order_BK = probs_BV.sort(descending=True)
    before_BK = sorted_BK.cumsum(-1) - sorted_BK
    kept_BK = sorted_BK.masked_fill(before_BK >= top_p_B1, 0.0)
    return order_BK.gather(1, _invert(kept_BK.cumsum(-1), uniform_B1))


def _invert(cumulative_BV: Tensor, uniform_B1: Tensor) -> Tensor:
    target_B1 = uniform_B1 * cumulative_BV[:, -1:]
    found_B1 = torch.searchsorted(cumulative_BV, target_B1, right=True)
    # Rounding may leave the target at the very end: the last token with any mass is meant then.
    last_B1 = torch.searchsorted(cumulative_BV, cumulative_BV[:, -1:].contiguous())
    return torch.minimum(found_B1, last_B1)
