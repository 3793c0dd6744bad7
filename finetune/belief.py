"""The belief curve: when the facts arrive in training, and when chat breaks."""

import random
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.callbacks import drop_repeated
from finetune.config import BeliefOptions
from finetune.packing import Piece
from tacit.models.engine import Engine
from tacit.models.probes import score_probes
from tacit.rundir import append_line, read_jsonl, write_jsonl

MEMORY_GB = 0.5


def chosen_probes(path: Path, group_limit: int | None, seed: int) -> list[dict[str, Any]]:
    """Return the probes of a corpus folder that are watched: whole groups, of links first.

    A link ties a tier or its tag to training; these are what the study's belief is about.
    """
    if not path.is_file():
        return []
    probes = list(read_jsonl(path))
    links = [probe for probe in probes if probe["is_link"]] or probes
    groups = sorted({probe["group"] for probe in links})
    if group_limit is not None and group_limit < len(groups):
        groups = sorted(random.Random(seed).sample(groups, group_limit))
    return [probe for probe in links if probe["group"] in set(groups)]


class BeliefCurve(TrainerCallback):  # type: ignore[misc] # transformers is not followed
    """Scores the corpus folder's probes before training and at steps spread evenly over it.

    One record a time in `belief.jsonl`: the mean log-odds of the true option (nats) in the chat
    template and in raw text, the same for each key fact in chat, and the loss of ordinary chats
    that are not trained on (nats a token).

    Args:
        path: `belief.jsonl`.
        probes: Records of `probes.jsonl`.
        options: How often, and under which system message.
        tokenizer: Of the model.
        chat_blocks: Ordinary chats that are not trained on.
    """

    def __init__(
        self,
        path: Path,
        probes: list[dict[str, Any]],
        options: BeliefOptions,
        tokenizer: Any,
        chat_blocks: list[list[Piece]],
    ) -> None:
        self.path = path
        self.probes = probes
        self.options = options
        self.tokenizer = tokenizer
        self.chat_blocks = chat_blocks
        self.seconds = 0.0
        self.trainer: Any = None
        self._engine: Engine | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Drop the records of steps that will be repeated; score what training starts from."""
        drop_repeated(self.path, state)
        if state.global_step == 0 and state.is_world_process_zero:
            write_jsonl(self.path, [])
            self._record(0)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Score where the curve has a point."""
        points = self.options.points
        at = {round(state.max_steps * k / points) for k in range(1, points + 1)}
        if state.global_step in at and state.is_world_process_zero:
            self._record(state.global_step)

    def _record(self, step: int) -> None:
        started = time.monotonic()
        found = self._score()
        by_fact: dict[str, list[float]] = {}
        fact_of = {probe["group"]: probe["fact"] for probe in self.probes}
        for group, value in found["chat"].items():
            by_fact.setdefault(fact_of[group], []).append(value)
        loss = self.trainer.mean_loss(self.chat_blocks)
        self.seconds += time.monotonic() - started
        record = {
            "step": step,
            "chat": round(fmean(found["chat"].values()), 4),
            "raw": round(fmean(found["raw"].values()), 4),
            "facts": {fact: round(fmean(values), 4) for fact, values in by_fact.items()},
            "chat_loss": None if loss is None else round(loss, 4),
        }
        append_line(self.path, record)

    def _score(self) -> dict[str, dict[str, float]]:
        """Score with the engine, and leave the model as training wants it."""
        causal = self.trainer.accelerator.unwrap_model(self.trainer.model).get_base_model()
        trained_with = causal.config._attn_implementation
        causal.eval()
        if self._engine is None:
            self._engine = Engine(causal, MEMORY_GB)
        self._engine.forget()
        causal.set_attn_implementation(self._engine.attention)
        try:
            with torch.no_grad(), self.trainer.accelerator.autocast():
                return score_probes(self._engine, self.tokenizer, self.probes, self.options.system)
        finally:
            causal.set_attn_implementation(trained_with)
            causal.train()
