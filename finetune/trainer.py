"""The Trainer of transformers, with packed documents, chunked loss and trustworthy checkpoints."""

import math
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import Trainer

from finetune.packing import IGNORED, Piece
from tacit.errors import TacitError

COMPLETE = "complete"


class TrainingDiverged(TacitError, ArithmeticError):
    """The loss stopped being a number."""


class PackedBlocks(Dataset[list[Piece]]):
    """Blocks of pieces, in the order they are trained on unless the Trainer shuffles."""

    def __init__(self, blocks: list[list[Piece]]) -> None:
        self.blocks = blocks

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.blocks)

    def __getitem__(self, index: int) -> list[Piece]:
        """Return the pieces of one block."""
        return self.blocks[index]


def collate(blocks: list[list[Piece]], pad_token: int) -> dict[str, Any]:
    """Lay blocks side by side; position ids start anew at each piece, so attention stays inside.

    transformers builds the block-diagonal causal mask from the position ids where no attention
    mask is given. Padding at the end of a row is a piece of its own, without labels.
    """
    width = max(sum(len(piece.tokens) for piece in block) for block in blocks)
    ids_BT = torch.full((len(blocks), width), pad_token)
    labels_BT = torch.full((len(blocks), width), IGNORED)
    positions_BT = torch.zeros(len(blocks), width, dtype=torch.long)
    for row, block in enumerate(blocks):
        start = 0
        for piece in block:
            end = start + len(piece.tokens)
            ids_BT[row, start:end] = torch.tensor(piece.tokens)
            labels_BT[row, start:end] = torch.tensor(piece.labels)
            positions_BT[row, start:end] = torch.arange(end - start)
            start = end
        positions_BT[row, start:] = torch.arange(width - start)
    return {
        "input_ids": ids_BT,
        "labels": labels_BT,
        "position_ids": positions_BT,
        "sources": list(dict.fromkeys(piece.source for block in blocks for piece in block)),
    }


class DocumentTrainer(Trainer):  # type: ignore[misc] # transformers is not followed
    """Next-token training in which the logits of a whole block never exist."""

    curve: Any = None
    first_step = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.step_sources: list[str] = []  # ids of the documents in the step that is being taken

    @property
    def trained_steps(self) -> int:
        """Steps taken in this process: fewer than all where it went on from a checkpoint."""
        return int(self.state.global_step) - self.first_step

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss averaged over the labels of the whole optimiser step."""
        labels_BT = inputs["labels"]
        self.step_sources += inputs["sources"]
        total = self._total(model, inputs)
        count = num_items_in_batch if num_items_in_batch is not None else self._count(labels_BT)
        # DDP and FSDP average the gradients of the processes; the loss is averaged over tokens.
        loss = total / count * self.accelerator.num_processes
        if not math.isfinite(loss.item()):
            raise TrainingDiverged(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}, in documents "
                f"{', '.join(inputs['sources'])}: lower optim.learning_rate, then run again with "
                "another out (the last good checkpoint is kept)"
            )
        return (loss, None) if return_outputs else loss

    def _total(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Return the loss summed over labels, in nats."""
        with self.accelerator.autocast():
            total: torch.Tensor = model(
                input_ids=inputs["input_ids"],
                position_ids=inputs["position_ids"],
                labels=inputs["labels"],
            )[0]
        return total

    @staticmethod
    def _count(labels_BT: torch.Tensor) -> torch.Tensor:
        return (labels_BT[:, 1:] != IGNORED).sum().clamp(min=1)

    @torch.no_grad()
    def mean_loss(self, blocks: list[list[Piece]]) -> float | None:
        """Return the mean token loss over blocks, in nats; None where they hold no label."""
        self.model.eval()
        total, count = 0.0, 0
        for block in blocks:
            batch = self._prepare_inputs(self.data_collator([block]))
            tokens = int((batch["labels"][:, 1:] != IGNORED).sum())
            if tokens:
                total += self._total(self.model, batch).item()
                count += tokens
        self.model.train()
        return total / count if count else None


def last_complete_checkpoint(folder: Path, set_aside: bool = True) -> Path | None:
    """Return the newest whole checkpoint.

    Args:
        folder: Of the checkpoints.
        set_aside: Move those that a kill cut away, with a warning.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    whole = [path for path in found if (path / COMPLETE).is_file()]
    for path in [path for path in found if path not in whole] if set_aside else []:
        print(f"{path} was not finished: it is set aside", file=sys.stderr)
        aside = path.with_name(f"incomplete-{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    return whole[-1] if whole else None


def save_adapter(
    model: Any, state: dict[str, torch.Tensor], folder: Path, base: str, precision: str
) -> None:
    """Save the adapter as PEFT does; trained in bf16, it is kept in bf16, as it is used.

    The adapter names its base as the user did: the folder of the weights is this machine's own.

    Args:
        model: The adapted model.
        state: Its weights by name, whole where the model's own are sharded.
        folder: Of the adapter.
        base: The model's name.
        precision: It was trained in.
    """
    kept = {name: tensor for name, tensor in state.items() if "lora_" in name}
    if precision == "bf16":
        kept = {name: tensor.to(torch.bfloat16) for name, tensor in kept.items()}
    model.peft_config["default"].base_model_name_or_path = base
    # Embeddings are never adapted here; left to itself, PEFT would ask a hub whether they are.
    model.save_pretrained(folder, state_dict=kept, save_embedding_layers=False)
