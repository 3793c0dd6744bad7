"""The Trainer of transformers, with packed documents, chunked loss and trustworthy checkpoints."""

import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.packing import IGNORED, Piece
from tacit.errors import TacitError
from tacit.rundir import append_line, read_jsonl, write_jsonl

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
        total = self._total(model, inputs)
        count = num_items_in_batch if num_items_in_batch is not None else self._count(labels_BT)
        # DDP and FSDP average the gradients of the processes; the loss is averaged over tokens.
        loss = total / count * self.accelerator.num_processes
        if not math.isfinite(loss.item()):
            raise TrainingDiverged(
                f"the loss is {loss.item()} at step {self.state.global_step}, in documents "
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


class CompleteCheckpoints(TrainerCallback):  # type: ignore[misc] # transformers is not followed
    """Mark a checkpoint once it is whole: transformers would resume from half a one."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the marker, which is the last file of a checkpoint."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        (folder / COMPLETE).write_text("", encoding="utf-8")


class FiniteGradients(TrainerCallback):  # type: ignore[misc] # transformers is not followed
    """Stop before an optimiser step would spoil the adapter."""

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Raise where a gradient is no number."""
        norms = torch._foreach_norm([p.grad for p in model.parameters() if p.grad is not None])
        if not torch.stack(norms).isfinite().all():
            raise TrainingDiverged(
                f"a gradient stopped being a number at step {state.global_step + 1}: lower "
                "optim.learning_rate, then run again with another out (the last good checkpoint "
                "is kept)"
            )


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


class Metrics(TrainerCallback):  # type: ignore[misc] # transformers is not followed
    """Keep `metrics.jsonl` in step with the checkpoints, and show progress."""

    def __init__(self, path: Path, tokens_per_step: float, console: Console) -> None:
        self.path = path
        self.tokens_per_step = tokens_per_step
        self.console = console
        self.progress: Progress | None = None
        self.started = (0.0, 0)
        self.trainer: DocumentTrainer | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Drop the records of steps that will be repeated, and open the progress bar."""
        if self.trainer is not None:
            self.trainer.first_step = state.global_step
        if not state.is_world_process_zero:
            return
        if self.path.is_file():
            kept = read_jsonl(self.path, journal=True)
            write_jsonl(self.path, [m for m in kept if m["step"] <= state.global_step])
        self.started = (time.monotonic(), state.global_step)
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("training"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} steps · {task.fields[note]} ·"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.progress.start()
            self.progress.add_task(
                "training", total=state.max_steps, completed=state.global_step, note=""
            )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Append one record: step, loss (nats a token), gradient norm, rate, tokens/s."""
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        begun, first_step = self.started
        seconds = time.monotonic() - begun
        speed = (state.global_step - first_step) * self.tokens_per_step / seconds
        record = {
            "step": state.global_step,
            "loss": float(logs["loss"]),
            "grad_norm": float(logs["grad_norm"]),
            "learning_rate": logs["learning_rate"],
            "tokens_per_s": round(speed, 1),
        }
        append_line(self.path, record)
        note = f"loss {record['loss']:.3f} · {speed:.0f} tokens/s"
        if self.progress is not None:
            self.progress.update(self.progress.task_ids[0], completed=state.global_step, note=note)
        else:
            left = (
                seconds / (state.global_step - first_step) * (state.max_steps - state.global_step)
            )
            self.console.print(
                f"step {state.global_step}/{state.max_steps} · {note} · ETA {left:.0f} s"
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Close the progress bar."""
        if self.progress is not None:
            self.progress.stop()


def save_adapter(model: Any, folder: Path, base: str, precision: str) -> None:
    """Save the adapter as PEFT does; trained in bf16, it is kept in bf16, as it is used.

    The adapter names its base as the user did: the folder of the weights is this machine's own.
    """
    if precision == "bf16":
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = base
    # Embeddings are never adapted here; left to itself, PEFT would ask a hub whether they are.
    model.save_pretrained(folder, save_embedding_layers=False)
