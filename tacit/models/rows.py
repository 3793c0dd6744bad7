"""Where the keys and values of the rows in flight are kept, and which requests share a prefix."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from tacit.models.attention import Prefix

WORTH_A_GROUP = 64  # shared tokens, beyond what all share, for which rows are kept apart
SMALLEST_GROUP = 8


def common_prefix_length(rows: Sequence[Sequence[int]]) -> int:
    """Return how many leading tokens all rows share, leaving each at least one of its own."""
    # What the two extremes share, all share.
    first, last = min(map(tuple, rows)), max(map(tuple, rows))
    longest = min(len(row) for row in rows) - 1
    for place in range(min(longest, len(first), len(last))):
        if first[place] != last[place]:
            return place
    return longest


def prefix_groups(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Group row numbers so that the rows of a group share as long a prefix as is worth it.

    Rows that share far more with each other than with the rest (another system prompt) are kept
    apart: their prefix is then computed once. Small groups stay together, for larger batches.
    """

    def split(numbers: list[int]) -> list[list[int]]:
        shared = common_prefix_length([rows[n] for n in numbers])
        branches: dict[int, list[int]] = {}
        for number in numbers:
            branches.setdefault(rows[number][shared], []).append(number)
        apart, rest = [], []
        for branch in branches.values():
            deeper = common_prefix_length([rows[n] for n in branch]) - shared
            if len(branch) >= SMALLEST_GROUP and deeper >= WORTH_A_GROUP:
                apart.append(branch)
            else:
                rest += branch
        if len(branches) == 1 or not apart:
            return [numbers]
        return [group for branch in apart for group in split(branch)] + ([rest] if rest else [])

    return split(list(range(len(rows)))) if rows else []


class RowLayer(CacheLayerMixin):  # type: ignore[misc] # transformers is not followed
    """One layer's keys and values `(R, H, L, D)`: a slot for each row, a column for each token."""

    def __init__(self, slots: "Slots") -> None:
        super().__init__()
        self.slots = slots

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate all slots at once, as zeros: what is masked is still multiplied."""
        _, heads, _, size = key_states.shape
        shape = (self.slots.count, heads, self.slots.width, size)
        self.keys, self.values = key_states.new_zeros(shape), value_states.new_zeros(shape)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new tokens where the slots say, and return all that these rows may see."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, columns, seen = self.slots.rows, self.slots.columns, self.slots.seen
        if isinstance(columns, slice):
            self.keys[rows, :, columns] = key_states
            self.values[rows, :, columns] = value_states
        else:
            numbers = torch.arange(len(columns), device=columns.device)
            self.keys[numbers, :, columns] = key_states[:, :, 0]
            self.values[numbers, :, columns] = value_states[:, :, 0]
        return self.keys[rows, :, :seen], self.values[rows, :, :seen]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of columns seen: masks are made by the engine."""
        return self.slots.seen, 0

    def get_seq_length(self) -> int:
        """Return the number of columns seen."""
        return self.slots.seen

    def get_max_length(self) -> int:
        """Return the number of columns."""
        return self.slots.width


class Slots:
    """Slots for `count` rows of up to `width` own tokens, in all layers.

    Rows in flight fill the slots from 0 on without a gap; a row that ends makes room at once.
    """

    def __init__(self, count: int, width: int, layer_count: int) -> None:
        self.count = count
        self.width = width
        self.rows = slice(0, 0)
        self.columns: slice | Tensor = slice(0, 0)
        self.seen = 0
        self.layers = [RowLayer(self) for _ in range(layer_count)]
        self.cache = Cache(layers=self.layers)

    def at(self, rows: slice, columns: slice | Tensor, seen: int) -> Cache:
        """Return the cache, set to write these columns of these rows and to show `seen` columns."""
        self.rows, self.columns, self.seen = rows, columns, seen
        return self.cache

    def move(self, source: int, target: int, length: int) -> None:
        """Move one row's first `length` tokens to another slot."""
        for layer in self.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]

    def as_prefix(self, tokens: tuple[int, ...]) -> Prefix:
        """Return the only row as a prefix."""
        return Prefix(
            tokens,
            tuple(layer.keys[0].contiguous() for layer in self.layers),
            tuple(layer.values[0].contiguous() for layer in self.layers),
        )
