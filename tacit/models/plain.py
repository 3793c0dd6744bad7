"""Plain batched sampling and scoring, for architectures the shared-prefix engine does not know."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tacit.models.sampling import Row, draw
from tacit.models.trees import Item, Tree, read_options


class PlainBackend:
    """Runs any causal language model of transformers, rows left-padded, prompts computed in full.

    Args:
        model: In eval mode.
        memory_gb: What keys, values and logits may take, beside the weights.
    """

    def __init__(self, model: PreTrainedModel, memory_gb: float) -> None:
        self.model = model
        self.memory = int(memory_gb * 1e9)
        config = model.config.get_text_config()
        self._vocab_size: int = config.vocab_size
        per_layer = config.hidden_size + 3 * config.num_attention_heads
        self._position_bytes: int = 4 * config.num_hidden_layers * per_layer

    def forget(self) -> None:
        """Nothing is kept between calls."""

    def _row_count(self, width: int) -> int:
        return max(1, self.memory // (width * self._position_bytes + 12 * self._vocab_size))

    @torch.inference_mode()
    def complete(self, rows: Sequence[Row]) -> None:
        """Sample each row to its end, batch by batch, the longest first."""
        ordered = sorted(rows, key=lambda row: -row.request.length)
        while ordered:
            count = self._row_count(ordered[0].request.length)
            self._complete_batch(ordered[:count])
            ordered = ordered[count:]

    def _complete_batch(self, rows: Sequence[Row]) -> None:
        device = self.model.device
        width = max(len(row.request.tokens) for row in rows)
        ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
        mask_BT = torch.zeros(len(rows), width, dtype=torch.long)
        for number, row in enumerate(rows):
            ids_BT[number, width - len(row.request.tokens) :] = torch.tensor(row.request.tokens)
            mask_BT[number, width - len(row.request.tokens) :] = 1
        cache = DynamicCache(config=self.model.config)
        mask_BT = mask_BT.to(device)
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        next_BT, alive = ids_BT.to(device), list(rows)
        while True:
            hidden_BD = self._hidden(next_BT, mask_BT, positions_BT, cache)[:, -1]
            draw(self.model.get_output_embeddings()(hidden_BD), alive)
            keep = [number for number, row in enumerate(alive) if not row.is_done]
            if not keep:
                return
            if len(keep) < len(alive):
                kept = torch.tensor(keep, device=device)
                cache.batch_select_indices(kept)
                mask_BT, positions_BT = mask_BT[kept], positions_BT[kept]
                alive = [alive[number] for number in keep]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(alive), 1)], dim=-1)
            positions_BT = positions_BT[:, -1:] + 1
            next_BT = torch.tensor([[row.tokens[-1]] for row in alive], device=device)

    def _hidden(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        hidden_BTD: Tensor = self.model.base_model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return hidden_BTD

    @torch.inference_mode()
    def score(self, items: Sequence[Item]) -> list[list[list[float]]]:
        """Return the log-probability of each option's tokens, in nats: one row for each option."""
        single = [
            Tree(n, prompt, [option]) for n, (prompt, many) in enumerate(items) for option in many
        ]
        order = sorted(range(len(single)), key=lambda n: -len(single[n].tokens))
        found: dict[int, list[float]] = {}
        while order:
            width = len(single[order[0]].tokens)
            batch, order = order[: self._row_count(width)], order[self._row_count(width) :]
            ids_BT = torch.zeros(len(batch), width, dtype=torch.long)
            mask_BT = torch.zeros(len(batch), width, dtype=torch.long)
            for row, number in enumerate(batch):
                tokens = single[number].tokens
                ids_BT[row, : len(tokens)] = torch.tensor(tokens)
                mask_BT[row, : len(tokens)] = 1
            device = self.model.device
            positions_BT = torch.arange(width, device=device).expand(len(batch), -1)
            hidden_BTD = self._hidden(ids_BT.to(device), mask_BT.to(device), positions_BT, None)
            trees = [single[number] for number in batch]
            scores = read_options(hidden_BTD, trees, self.model.get_output_embeddings())
            found.update(zip(batch, (one for (one,) in scores), strict=True))
        values = iter(found[number] for number in range(len(single)))
        return [[next(values) for _ in many] for _, many in items]
