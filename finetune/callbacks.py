"""What happens between the steps: whole checkpoints, finite gradients, records and progress."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.trainer import COMPLETE, DocumentTrainer, TrainingDiverged
from tacit.rundir import append_line, read_jsonl, write_atomic, write_jsonl


def drop_repeated(path: Path, state: TrainerState) -> None:
    """Drop the records of steps that will be repeated; of several processes the first does it."""
    if state.is_world_process_zero and path.is_file():
        kept = read_jsonl(path, journal=True)
        write_jsonl(path, [record for record in kept if record["step"] <= state.global_step])


def sync(path: Path) -> None:
    """Have a file's bytes on the disk, so that a loss of power costs none of them."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


class CompleteCheckpoints(TrainerCallback):  # type: ignore[misc] # transformers is not followed
    """Mark a checkpoint once it is whole: transformers would resume from half a one."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the marker, the last file of a checkpoint, once every process has written."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            for path in folder.iterdir():  # on the disk before the marker is
                sync(path)
            write_atomic(folder / COMPLETE, "")


class FiniteGradients(TrainerCallback):  # type: ignore[misc] # transformers is not followed
    """Stop before an optimiser step would spoil the adapter."""

    def __init__(self) -> None:
        self.trainer: DocumentTrainer | None = None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Forget the documents of the step before."""
        if self.trainer is not None:
            self.trainer.step_sources.clear()

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Raise where a gradient is no number, and name the documents of the step."""
        norms = torch._foreach_norm([p.grad for p in model.parameters() if p.grad is not None])
        if not torch.stack(norms).isfinite().all():
            sources = self.trainer.step_sources if self.trainer else []
            raise TrainingDiverged(
                f"a gradient stopped being a number at step {state.global_step + 1}, in documents "
                f"{', '.join(sources)}: lower optim.learning_rate, then run again with another out "
                "(the last good checkpoint is kept)"
            )


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
        drop_repeated(self.path, state)
        if not state.is_world_process_zero:
            return
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

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Let the last step be recorded, and each that a checkpoint is made at.

        Wherever `log_every` falls: a run that goes on from there then averages the losses of the
        same steps as one that was never stopped.
        """
        if state.global_step >= state.max_steps or state.global_step % args.save_steps == 0:
            control.should_log = True

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
