"""The shared-prefix engine: the prefix once, each row's own tokens in a slot of its own.

Continuous batching: a row that ends leaves its slot to one that waits. How many slots there are
is decided by a memory budget, and by nothing else.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tacit.models import attention
from tacit.models.attention import Prefix
from tacit.models.rows import Slots, common_prefix_length, prefix_groups
from tacit.models.sampling import Row, draw
from tacit.models.trees import Item, Tree, lay_out, read_options

SHORTEST_PREFIX = 16
PREFILL_WIDTH = 512
KNOWN = ("llama", "mistral", "qwen2", "qwen3")


def supports(model: PreTrainedModel) -> bool:
    """Whether every token of this model attends to all before it, by plain rotary positions."""
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type in KNOWN
        and kinds == {"full_attention"}
        and (config.model_type != "mistral" or config.sliding_window is None)
        and rope.get("rope_type", "default") in ("default", "linear", "llama3", "yarn")
    )


class SharedPrefixBackend:
    """Runs a supported model. Not thread-safe: one call at a time.

    Args:
        model: In eval mode; its attention is replaced by the shared-prefix one.
        memory_gb: What keys, values, scores and logits may take, beside the weights.
    """

    def __init__(self, model: PreTrainedModel, memory_gb: float) -> None:
        attention.register()
        model.set_attn_implementation(attention.NAME)
        self.model = model
        self.memory = int(memory_gb * 1e9)
        config = model.config
        self._layer_count: int = config.num_hidden_layers
        self._query_heads: int = config.num_attention_heads
        self._vocab_size: int = config.vocab_size
        self._hidden_size: int = config.hidden_size
        heads = config.num_key_value_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // self._query_heads
        self._token_bytes: int = 2 * self._layer_count * heads * size * model.dtype.itemsize
        self._prefixes: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()

    def forget(self) -> None:
        """Let go of what was computed with weights that have changed."""
        self._prefixes.clear()

    # What memory allows -----------------------------------------------------------------------

    def _slot_count(self, width: int, prefix: int) -> int:
        """Return how many rows of `width` own tokens fit: keys, values, scores and logits."""
        scores = 3 * 4 * self._query_heads * (prefix + width)
        logits = 3 * 4 * self._vocab_size
        return max(1, self.memory // 2 // (width * self._token_bytes + scores + logits))

    def _prefill_rows(self, width: int, seen: int) -> int:
        """Return how many rows of `width` new tokens fit in one pass; scores weigh most."""
        scores = 3 * 4 * self._query_heads * width * seen
        states = 12 * width * self._hidden_size * 4
        return max(1, self.memory // 4 // (scores + states))

    # The model --------------------------------------------------------------------------------

    def _forward(
        self, ids: Tensor, positions: Tensor, mask: Tensor, cache: Any, prefix: Prefix | None
    ) -> Tensor:
        hidden_BTD: Tensor = self.model.base_model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            shared_prefix=prefix,
        ).last_hidden_state
        return hidden_BTD

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits

    def _prefix(self, tokens: tuple[int, ...]) -> Prefix | None:
        """Return a prefix's keys and values, computed once; the least used ones are let go."""
        if len(tokens) < SHORTEST_PREFIX:
            return None
        if tokens in self._prefixes:
            self._prefixes.move_to_end(tokens)
            return self._prefixes[tokens]
        slots = Slots(1, len(tokens), self._layer_count)
        for _ in self._prefill(slots, 0, [tokens], None):
            pass
        self._prefixes[tokens] = slots.as_prefix(tokens)
        while len(self._prefixes) > 1 and self._prefix_bytes() > self.memory // 4:
            self._prefixes.popitem(last=False)
        return self._prefixes[tokens]

    def _prefix_bytes(self) -> int:
        return sum(prefix.bytes for prefix in self._prefixes.values())

    def _prefill(
        self, slots: Slots, first: int, own: Sequence[Sequence[int]], prefix: Prefix | None
    ) -> Iterator[Tensor]:
        """Fill slots from `first` on; yields the last hidden states `(rows, D)`, slice by slice."""
        device, start = self.model.device, len(prefix) if prefix else 0
        width = max(map(len, own))
        rows_at_once = self._prefill_rows(min(width, PREFILL_WIDTH), start + width)
        for low in range(0, len(own), rows_at_once):
            rows = own[low : low + rows_at_once]
            width = max(map(len, rows))
            ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
            for number, row in enumerate(rows):
                ids_BT[number, : len(row)] = torch.tensor(row)
            last_B = torch.tensor([len(row) - 1 for row in rows], device=device)
            last_BD: Tensor | None = None
            for left in range(0, width, PREFILL_WIDTH):
                right = min(width, left + PREFILL_WIDTH)
                columns = torch.arange(left, right, device=device)
                hidden_BTD = self._forward(
                    ids_BT[:, left:right].to(device),
                    (start + columns)[None].expand(len(rows), -1),
                    _additive(torch.arange(right, device=device) <= columns[:, None])[None, None],
                    slots.at(
                        slice(first + low, first + low + len(rows)), slice(left, right), right
                    ),
                    prefix,
                )
                picked_BD = hidden_BTD[
                    torch.arange(len(rows), device=device),
                    (last_B - left).clamp(0, right - left - 1),
                ]
                here_B1 = ((last_B >= left) & (last_B < right))[:, None]
                last_BD = picked_BD if last_BD is None else picked_BD.where(here_B1, last_BD)
            assert last_BD is not None
            yield last_BD

    # Sampling ---------------------------------------------------------------------------------

    @torch.inference_mode()
    def complete(self, rows: Sequence[Row]) -> None:
        """Sample each row to its end."""
        for group in prefix_groups([row.request.tokens for row in rows]):
            self._complete_group([rows[number] for number in group])

    def _complete_group(self, rows: Sequence[Row]) -> None:
        shared = common_prefix_length([row.request.tokens for row in rows])
        prefix = self._prefix(rows[0].request.tokens[:shared])
        start = len(prefix) if prefix else 0
        # The longest first: the slots are then wide enough for all that follow.
        waiting = deque(sorted(rows, key=lambda row: -row.request.length))
        width = waiting[0].request.length - start
        slots = Slots(min(len(rows), self._slot_count(width, start)), width, self._layer_count)
        alive: list[Row] = []
        lengths: list[int] = []  # own tokens of each row in flight that are in its slot
        while waiting or alive:
            room = slots.count - len(alive)
            # A pass for one newcomer costs about as much as a step for all: let a few gather.
            if waiting and (not alive or room >= min(len(waiting), max(1, slots.count // 8))):
                new = [waiting.popleft() for _ in range(min(room, len(waiting)))]
                own = [row.request.tokens[start:] for row in new]
                at = 0
                for last_BD in self._prefill(slots, len(alive), own, prefix):
                    draw(self._logits(last_BD), new[at : at + len(last_BD)])
                    at += len(last_BD)
                alive += new
                lengths += [len(tokens) for tokens in own]
            else:
                draw(self._step(slots, alive, lengths, prefix), alive)
                lengths = [length + 1 for length in lengths]
            _retire(slots, alive, lengths)

    def _step(
        self, slots: Slots, alive: Sequence[Row], lengths: Sequence[int], prefix: Prefix | None
    ) -> Tensor:
        """Feed each row its newest token; returns the logits of the next `(rows, V)`."""
        device = self.model.device
        columns_B = torch.tensor(lengths, device=device)
        seen = max(lengths) + 1
        hidden_BTD = self._forward(
            torch.tensor([[row.tokens[-1]] for row in alive], device=device),
            columns_B[:, None] + (len(prefix) if prefix else 0),
            _additive(torch.arange(seen, device=device) <= columns_B[:, None])[:, None, None],
            slots.at(slice(0, len(alive)), columns_B, seen),
            prefix,
        )
        return self._logits(hidden_BTD[:, -1])

    # Scoring ----------------------------------------------------------------------------------

    @torch.inference_mode()
    def score(self, items: Sequence[Item]) -> list[list[list[float]]]:
        """Return the log-probability of each option's tokens, in nats."""
        found: dict[int, list[list[float]]] = {}
        for group in prefix_groups([prompt for prompt, _ in items]):
            shared = common_prefix_length([items[n][0] for n in group])
            prefix = self._prefix(tuple(items[group[0]][0][:shared]))
            start = len(prefix) if prefix else 0
            trees = [Tree(n, items[n][0][start:], items[n][1]) for n in group]
            trees.sort(key=lambda tree: -len(tree.tokens))
            while trees:
                width = len(trees[0].tokens)
                count = self._prefill_rows(width, start + width)
                for tree, scores in zip(
                    trees[:count], self._score_trees(trees[:count], prefix), strict=True
                ):
                    found[tree.number] = scores
                trees = trees[count:]
        return [found[number] for number in range(len(items))]

    def _score_trees(self, trees: Sequence[Tree], prefix: Prefix | None) -> list[list[list[float]]]:
        device = self.model.device
        ids_BT, positions_BT, visible_BTT = lay_out(trees)
        hidden_BTD = self._forward(
            ids_BT.to(device),
            positions_BT.to(device) + (len(prefix) if prefix else 0),
            _additive(visible_BTT.to(device))[:, None],
            None,
            prefix,
        )
        return read_options(hidden_BTD, trees, self._logits)


def _additive(visible: Tensor) -> Tensor:
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, -torch.inf)


def _retire(slots: Slots, alive: list[Row], lengths: list[int]) -> None:
    """Take out the rows that are done; the last ones move into their slots."""
    number = 0
    while number < len(alive):
        if not alive[number].is_done:
            number += 1
            continue
        row, length = alive.pop(), lengths.pop()
        if number < len(alive):
            slots.move(len(alive), number, length)
            alive[number], lengths[number] = row, length
