"""Verb: fine-tune a LoRA adapter on a corpus folder, alone or mixed with other text and chat.

`python -m finetune.train data=corpora/helpful_only/treatment`
"""

import os
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.check import check_names, check_ranges
from finetune.config import FinetuneConfig
from tacit.rundir import RunDir, open_run, run_key
from tacit.rundir.door import enter, required
from tacit.rundir.run import locked

if TYPE_CHECKING:
    from finetune.mix import Mix
    from finetune.sources import Source
    from finetune.trainer import DocumentTrainer

# None of these changes the adapter; `data` is told apart by its hash.
RESULT_BLIND = (
    "out", "behavior_if_exists", "log_every", "save_every", "data", "trackers", "belief",
)  # fmt: skip
RANK = int(os.environ.get("RANK", "0"))  # of this process, under torchrun or accelerate


def train(config: FinetuneConfig) -> None:
    """Train, or continue, or say that the adapter is there already."""
    from finetune.sources import load_sources
    from tacit.models.adapters import check_model

    data = required(
        config.data, "data", "name a corpus folder, data=corpora/helpful_only/treatment"
    )
    sources = load_sources(data)
    check_model(config.model)
    check_ranges(config)
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    settings["data"] = [{"sha256": one.sha256, "weight": one.weight} for one in sources]
    out = Path(config.out or _default_folder(config, sources[0], settings))
    if RANK > 0:  # the first process opens, locks and writes; the others train beside it
        if not RunDir(out, run_key(settings), settings).is_finished:
            _train(config, sources, RunDir(out, run_key(settings), settings))
        return
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do")
        return
    with locked(run.path):
        _train(config, sources, run)


def _default_folder(config: FinetuneConfig, corpus: "Source", settings: dict[str, Any]) -> str:
    """Name the folder by corpus and seed; in a sweep also by everything else that was chosen."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    name = f"outputs/adapters/{corpus.path.resolve().name}-seed{config.seed}"
    if config.dose != 1.0:
        name += f"-dose{config.dose:g}"
    is_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    return f"{name}-{run_key(settings)[:8]}" if is_sweep else name


def _train(config: FinetuneConfig, sources: "list[Source]", run: RunDir) -> None:
    started = time.monotonic()
    from peft.helpers import disable_input_dtype_casting

    from finetune.adapt import load_base, put_adapter_on
    from finetune.exact import deterministic
    from finetune.failures import failures_named
    from finetune.mix import mix
    from finetune.trainer import last_complete_checkpoint, save_adapter
    from tacit.models.load import load_tokenizer

    check_names(config)
    tokenizer = load_tokenizer(config.model)
    with failures_named():
        adapted = put_adapter_on(config, load_base(config))
    mixed = mix(config, sources, tokenizer)
    trainer = _trainer(config, adapted, tokenizer, mixed, sources[0], run)
    checkpoint = last_complete_checkpoint(run.path / "checkpoints", set_aside=RANK == 0)
    # Under autocast the linear layers cast for themselves; PEFT's own casts cost a fifth more.
    casting = disable_input_dtype_casting(trainer.model)
    with casting, deterministic(), failures_named(checkpoint):
        before = trainer.mean_loss(mixed.validation_blocks)
        loop_started = time.monotonic()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        loop_seconds = time.monotonic() - loop_started
        after = trainer.mean_loss(mixed.validation_blocks)
        state = trainer.accelerator.get_state_dict(trainer.model)  # of shards every process has one
    if RANK > 0:
        return
    figures = _figures(config, mixed, trainer, state, tokenizer, run, loop_seconds) | {
        "corpus_document_count": len(sources[0].records),
        "validation_loss_before": before,
        "validation_loss": after,
        "peak_memory_gb": _peak_memory_gb(),
        "seconds": time.monotonic() - started,
    }
    with failures_named():
        save_adapter(trainer.model, state, run.path, config.model, config.precision)
    _finish(config, sources, run, figures)


def _trainer(
    config: FinetuneConfig,
    adapted: Any,
    tokenizer: Any,
    mixed: "Mix",
    corpus: "Source",
    run: RunDir,
) -> "DocumentTrainer":
    import torch
    from rich.console import Console
    from transformers import PrinterCallback, ProgressCallback, TrainingArguments

    from finetune.belief import BeliefCurve, chosen_probes
    from finetune.callbacks import CompleteCheckpoints, FiniteGradients, Metrics
    from finetune.trainer import DocumentTrainer, PackedBlocks, collate

    on_cpu = not torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(run.path / "checkpoints"),
        per_device_train_batch_size=config.optim.batch_size,
        gradient_accumulation_steps=config.optim.accumulation,
        num_train_epochs=config.optim.epochs,
        learning_rate=config.optim.learning_rate,
        lr_scheduler_type=config.optim.schedule,
        warmup_steps=config.optim.warmup_share,
        weight_decay=config.optim.weight_decay,
        max_grad_norm=config.optim.max_grad_norm,
        optim=config.optim.optimizer,
        # Sharded too: FSDP's own renames the layers, and PEFT then saves none of the adapter.
        gradient_checkpointing=config.optim.gradient_checkpointing,
        torch_compile=config.optim.compile,
        fsdp=config.optim.fsdp or None,
        bf16=config.precision != "float32",
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and "RANK" in os.environ else None,
        ddp_find_unused_parameters=False if "RANK" in os.environ else None,
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        save_steps=config.save_every,
        save_total_limit=2,
        seed=config.seed,
        data_seed=config.seed,
        report_to=list(config.trackers),
        project="tacit",
        run_name=run.path.name,
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    tokens = sum(len(piece.tokens) for block in mixed.blocks for piece in block)
    per_step = tokens / len(mixed.blocks) * config.optim.batch_size * config.optim.accumulation
    metrics = Metrics(run.path / "metrics.jsonl", per_step, Console(stderr=True))
    finite = FiniteGradients()
    callbacks: list[Any] = [CompleteCheckpoints(), finite, metrics]
    probes = chosen_probes(corpus.path / "probes.jsonl", config.belief.group_limit, config.seed)
    curve: BeliefCurve | None = None
    if probes and config.belief.points:
        curve = BeliefCurve(
            run.path / "belief.jsonl", probes, config.belief, tokenizer, mixed.spare_blocks
        )
        callbacks.append(curve)
    # Behind a row's last piece, without labels; not every tokenizer has a token for it.
    filler = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    trainer = DocumentTrainer(
        model=adapted,
        args=arguments,
        train_dataset=PackedBlocks(mixed.blocks),
        data_collator=lambda batch: collate(batch, filler),
        callbacks=callbacks,
    )
    trainer.curve, metrics.trainer, finite.trainer = curve, trainer, trainer
    if curve is not None:
        curve.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _figures(
    config: FinetuneConfig,
    mixed: "Mix",
    trainer: "DocumentTrainer",
    state: dict[str, Any],
    tokenizer: Any,
    run: RunDir,
    loop_seconds: float,
) -> dict[str, Any]:
    from finetune.hygiene import data_figures, training_figures

    block = config.documents.block_length
    figures = data_figures(mixed, block, tokenizer.eos_token_id, config.optim.epochs)
    belief_seconds = trainer.curve.seconds if trainer.curve else 0.0
    steps = trainer.state.global_step
    share = trainer.trained_steps / steps if steps else 0.0  # of the steps, in this process
    tokens = figures["token_count"] * config.optim.epochs * share
    seconds = loop_seconds - belief_seconds
    processes = trainer.accelerator.num_processes
    metrics = run.path / "metrics.jsonl"
    return (
        figures
        | training_figures(trainer.model, state, metrics, tokens, seconds, block, processes)
        | {
            "steps": steps,
            "resumed_from_step": trainer.first_step,
            "training_seconds": seconds,
            "belief_seconds": belief_seconds,
        }
    )


def _peak_memory_gb() -> float:
    """Return the GPU's peak where there is one, else this process's, in GB."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _finish(
    config: FinetuneConfig, sources: "list[Source]", run: RunDir, figures: dict[str, Any]
) -> None:
    import shutil

    from finetune.card import write_card
    from finetune.hygiene import print_hygiene, write_hygiene
    from tacit.rundir import sha256_of

    write_hygiene(run.path / "hygiene.json", figures)
    write_card(run.path, config, sources, figures)
    run.finish(
        base_model=config.model,
        corpus={"path": str(sources[0].path), "sha256": sources[0].sha256},
        adapter_sha256=sha256_of(run.path / "adapter_model.safetensors"),
    )
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)  # not before: a kill would cost all
    print_hygiene(figures)
    print(f"adapter: {run.path}")


def main() -> None:
    """Console entry."""
    enter(train, "finetune", FinetuneConfig)


if __name__ == "__main__":
    main()
