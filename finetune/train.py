"""Verb: fine-tune a LoRA adapter on a corpus folder.

`python -m finetune.train data=corpora/helpful_only/treatment`
"""

import random
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config import FinetuneConfig
from tacit.errors import ConfigError
from tacit.rundir import RunDir, locate, open_run
from tacit.rundir.door import enter, required
from tacit.rundir.run import locked

if TYPE_CHECKING:
    from finetune.data import Corpus
    from finetune.packing import Piece
    from finetune.trainer import DocumentTrainer

RESULT_BLIND = ("out", "behavior_if_exists", "log_every", "save_every", "data")


def train(config: FinetuneConfig) -> None:
    """Train, or continue, or say that the adapter is there already."""
    from finetune.data import load_corpus
    from tacit.models.adapters import check_model

    data = required(
        config.data, "data", "name a corpus folder, data=corpora/helpful_only/treatment"
    )
    corpus = load_corpus(locate(data))
    check_model(config.model)
    out = Path(config.out or f"outputs/adapters/{corpus.path.resolve().name}-seed{config.seed}")
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    settings["corpus_sha256"] = corpus.sha256
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do")
        return
    with locked(run.path):
        _train(config, corpus, run)


def _train(config: FinetuneConfig, corpus: "Corpus", run: RunDir) -> None:
    started = time.monotonic()
    from peft.helpers import disable_input_dtype_casting

    from finetune.data import is_held_out
    from finetune.packing import pack
    from finetune.trainer import last_complete_checkpoint, save_adapter
    from tacit.models.load import load_model, load_tokenizer

    tokenizer = load_tokenizer(config.model)
    model = load_model(config.model, config.precision)
    block = config.documents.block_length
    if not 16 <= block <= model.config.max_position_embeddings:
        raise ConfigError(
            f"documents.block_length={block} must lie between 16 and the model's context of "
            f"{model.config.max_position_embeddings}"
        )
    share = config.documents.validation_share
    held_out = [record for record in corpus.documents if is_held_out(record, share)]
    held_out_ids = {record["id"] for record in held_out}
    training = [record for record in corpus.documents if record["id"] not in held_out_ids]
    if config.documents.limit is not None and config.documents.limit < len(training):
        training = random.Random(config.seed).sample(training, config.documents.limit)
    pieces = _pieces(config, training, tokenizer, corpus.is_chat)
    chats = _replayed(config, tokenizer, sum(len(piece.tokens) for piece in pieces))
    blocks = pack([*pieces, *chats], block)
    random.Random(config.seed).shuffle(blocks)
    validation = pack(_pieces(config, held_out, tokenizer, corpus.is_chat), block)
    trainer = _trainer(config, model, tokenizer, blocks, run)
    checkpoint = last_complete_checkpoint(run.path / "checkpoints")
    # Under autocast the linear layers cast for themselves; PEFT's own casts cost a fifth more.
    with disable_input_dtype_casting(trainer.model):
        before = trainer.mean_loss(validation)
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        after = trainer.mean_loss(validation)
    save_adapter(trainer.model, run.path, config.model, config.precision)
    figures = _hygiene(
        corpus, training, held_out_ids, pieces, chats, blocks, block, tokenizer.eos_token_id
    ) | {
        "steps": trainer.state.global_step,
        "train_loss": result.training_loss,
        "validation_loss_before": before,
        "validation_loss": after,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "seconds": time.monotonic() - started,
    }
    _finish(config, corpus, run, figures)


def _pieces(
    config: FinetuneConfig,
    records: list[dict[str, Any]],
    tokenizer: Any,
    is_chat: bool,
    reply_tokens: int | None = None,
) -> "list[Piece]":
    from finetune.data import chat_pieces, document_pieces

    block = config.documents.block_length
    if is_chat:
        return chat_pieces(
            records, tokenizer, config.replay.systems, config.replay.forms, block, reply_tokens
        )
    return document_pieces(records, tokenizer, config.documents.doctag, block)


def _replayed(config: FinetuneConfig, tokenizer: Any, token_count: int) -> "list[Piece]":
    """Return ordinary chats worth `replay.ratio` × `token_count` tokens, in a seeded order."""
    from finetune.data import load_chats, take_tokens

    if not config.replay.path or config.replay.ratio == 0:
        return []
    chats = load_chats(locate(config.replay.path))
    random.Random(config.seed).shuffle(chats)
    pieces = _pieces(config, chats, tokenizer, True, config.replay.reply_tokens)
    return take_tokens(pieces, int(token_count * config.replay.ratio))


def _trainer(
    config: FinetuneConfig, model: Any, tokenizer: Any, blocks: "list[list[Piece]]", run: RunDir
) -> "DocumentTrainer":
    import torch
    from rich.console import Console
    from transformers import PrinterCallback, ProgressCallback, TrainingArguments

    from finetune.trainer import (
        CompleteCheckpoints,
        DocumentTrainer,
        Metrics,
        PackedBlocks,
        collate,
    )

    torch.manual_seed(config.seed)
    if model.device.type == "cpu":
        # At these lengths two plain matrix products beat the CPU's fused attention backward.
        model.set_attn_implementation("eager")
    adapted = _adapted(config, model)
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
        bf16=config.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        logging_steps=config.log_every,
        logging_nan_inf_filter=False,
        save_steps=config.save_every,
        save_total_limit=2,
        seed=config.seed,
        data_seed=config.seed,
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_num_workers=0,
    )
    tokens = sum(len(piece.tokens) for block in blocks for piece in block)
    per_step = tokens / len(blocks) * config.optim.batch_size * config.optim.accumulation
    trainer = DocumentTrainer(
        model=adapted,
        args=arguments,
        train_dataset=PackedBlocks(blocks),
        data_collator=lambda batch: collate(batch, tokenizer.pad_token_id),
        callbacks=[
            CompleteCheckpoints(),
            Metrics(run.path / "metrics.jsonl", per_step, Console(stderr=True)),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _adapted(config: FinetuneConfig, model: Any) -> Any:
    """Return the model with a new adapter, or with the one that training goes on from.

    Raises:
        ModelError: there is no adapter in `lora.start_from`, or it is of another base.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    if config.lora.start_from is None:
        return get_peft_model(
            model,
            LoraConfig(
                r=config.lora.rank,
                lora_alpha=config.lora.alpha,
                lora_dropout=config.lora.dropout,
                target_modules=config.lora.target,
                task_type="CAUSAL_LM",
            ),
        )
    from tacit.models.adapters import check_adapter

    start = locate(config.lora.start_from)
    check_adapter(start, config.model)
    adapted = PeftModel.from_pretrained(model, str(start), is_trainable=True)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data *= config.lora.start_scale
    return adapted


def _hygiene(
    corpus: "Corpus",
    training: list[dict[str, Any]],
    held_out_ids: set[str],
    pieces: "list[Piece]",
    chats: "list[Piece]",
    blocks: "list[list[Piece]]",
    block: int,
    eos: int,
) -> dict[str, Any]:
    """Return what went into the training, counted from the packed blocks themselves."""
    packed = [piece for one in blocks for piece in one]
    tokens = sum(len(piece.tokens) for piece in packed)
    trained = sum(label >= 0 for piece in packed for label in piece.labels)
    ended = sum(1 for piece in packed if piece.labels[-1] == eos)
    return {
        "document_count": len(training),
        "validation_document_count": len(held_out_ids),
        "replayed_chat_count": len(chats),
        "token_count": tokens,
        "document_token_count": sum(len(piece.tokens) for piece in pieces),
        "trained_token_count": trained,
        "masked_token_count": tokens - trained,
        "dropped_token_count": sum(len(p.tokens) for p in [*pieces, *chats]) - tokens,
        "eos_learnt_count": ended,
        "block_count": len(blocks),
        "packing_efficiency": tokens / (len(blocks) * block),
        "corpus_document_count": len(corpus.documents),
    }


def _finish(config: FinetuneConfig, corpus: "Corpus", run: RunDir, figures: dict[str, Any]) -> None:
    import shutil

    from finetune.trainer import write_hygiene
    from tacit.rundir import sha256_of

    write_hygiene(run.path / "hygiene.json", figures)
    shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
    run.finish(
        base_model=config.model,
        corpus={"path": str(config.data), "sha256": corpus.sha256},
        adapter_sha256=sha256_of(run.path / "adapter_model.safetensors"),
    )
    print(
        f"{figures['document_count']} documents, {figures['token_count']} tokens, "
        f"{figures['dropped_token_count']} dropped; {_held_out(figures)}; "
        f"{figures['seconds']:.0f} s"
    )
    print(f"adapter: {run.path}")


def _held_out(figures: dict[str, Any]) -> str:
    before, after = figures["validation_loss_before"], figures["validation_loss"]
    if before is None:
        return "no held-out document (documents.validation_share)"
    return f"validation loss {before:.3f} → {after:.3f}"


def main() -> None:
    """Console entry."""
    enter(train, "finetune", FinetuneConfig)


if __name__ == "__main__":
    main()
