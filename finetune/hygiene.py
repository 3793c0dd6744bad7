"""What went into a training and how it went: counted, not assumed."""

import json
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from finetune.mix import Mix
from tacit.rundir import read_jsonl, write_atomic


def data_figures(mix: Mix, block: int, eos: int, epochs: float) -> dict[str, Any]:
    """Return what went into the training, counted from the packed blocks themselves.

    A text is cut where its end, EOS with a loss on it, stands in no block.
    """
    packed = [piece for one in mix.blocks for piece in one]
    tokens = sum(len(piece.tokens) for piece in packed)
    trained = sum(label >= 0 for piece in packed for label in piece.labels)
    parts: dict[str, int] = defaultdict(int)
    for piece in mix.pieces:
        parts[piece.source] += 1
    ended = [piece.source for piece in packed if piece.labels[-1] == eos]
    return {
        "document_count": mix.document_count,
        "validation_document_count": mix.held_out_count,
        "replayed_chat_count": mix.chat_count,
        "replay_ratio": round(mix.replay_ratio, 4),
        "token_count": tokens,
        "trained_token_count": trained,
        "masked_token_count": tokens - trained,
        "dropped_token_count": sum(len(piece.tokens) for piece in mix.pieces) - tokens,
        "cut_document_count": len(mix.text_ids - set(ended)),
        "long_chats_left_out_count": mix.long_chat_count,
        "added_sources": mix.added,
        "split_document_count": sum(count > 1 for count in parts.values()),
        "eos_learnt_count": len(ended),
        "eos_learnt_share": len(ended) / len(parts),
        "tokens_seen_per_document": tokens * epochs / len(parts),
        "block_count": len(mix.blocks),
        "packing_efficiency": tokens / (len(mix.blocks) * block),
    }


def training_figures(
    model: Any,
    state: dict[str, Any],
    metrics: Path,
    tokens: float,
    seconds: float,
    block: int,
    process_count: int,
) -> dict[str, Any]:
    """Return losses, gradient norms, the adapter's norm a layer, speed, the machine's utilisation.

    Args:
        model: The adapted model, trained.
        state: Its weights by name, whole where the model's own are sharded.
        metrics: `metrics.jsonl` of the run, of which a part may be of processes before this one.
        tokens: Tokens trained on in `seconds`, the training loop alone, by all processes.
        seconds: Of the training loop.
        block: Tokens of a block, which attention is squared in at most.
        process_count: Processes that trained side by side, on devices alike.
    """
    records = list(read_jsonl(metrics, journal=True))
    norms = [record["grad_norm"] for record in records]
    flops = flops_per_token(model, block)
    speed = tokens / seconds if seconds else 0.0
    peak = peak_flops(model) * process_count
    return {
        "train_loss": mean_over_steps(records),
        "grad_norm_median": median(norms),
        "grad_norm_max": max(norms),
        "adapter_norm_per_layer": adapter_norms(model, state),
        "tokens_per_s": speed,
        "model_flops_per_token": flops,
        "measured_peak_flops": peak,
        "model_flops_utilisation": speed * flops / peak,
    }


def mean_over_steps(records: list[dict[str, Any]]) -> float:
    """Return the mean loss of all steps; a record's is the mean of those since the one before."""
    total, last = 0.0, 0
    for record in records:
        total += record["loss"] * (record["step"] - last)
        last = record["step"]
    return total / last


def adapter_norms(model: Any, state: dict[str, Any]) -> dict[str, float]:
    """Return, for each layer, the length of the adapter's change to its weights (Frobenius)."""
    import torch

    squared: dict[str, float] = defaultdict(float)
    for name, module in model.named_modules():
        if "default" not in getattr(module, "lora_A", {}):
            continue
        with torch.no_grad():
            a_RI = state[f"{name}.lora_A.default.weight"].float()
            b_OR = state[f"{name}.lora_B.default.weight"].float()
            # |B A|² without the product: the trace of (AAᵀ)(BᵀB).
            change = ((a_RI @ a_RI.T) * (b_OR.T @ b_OR)).sum() * module.scaling["default"] ** 2
        place = name.split(".layers.")[-1].split(".")[0] if ".layers." in name else name
        squared[place] += float(change)
    return {layer: round(value**0.5, 4) for layer, value in squared.items()}


def flops_per_token(model: Any, block: int) -> float:
    """Return the model's floating-point operations for a trained token.

    4 × parameters: 2 forward, 2 for the gradient of what flows back; frozen weights have no
    gradient of their own. Attention: 2 products of a token with half a block on average, a layer,
    forward, and twice that back. Source: Kaplan et al. 2020, appendix, less the weight gradients.
    """
    config = model.config.get_text_config()
    trained, every = model.get_nb_trainable_parameters()  # which counts 4-bit weights as they are
    weights = every - trained
    head_size = getattr(config, "head_dim", None)
    head_size = head_size or config.hidden_size // config.num_attention_heads
    width = config.num_attention_heads * head_size
    attention = 3 * 2 * 2 * width * (block / 2) * config.num_hidden_layers
    return float(4 * weights + attention)


def peak_flops(model: Any) -> float:
    """Return what this machine reaches in a large product of the model's precision."""
    import torch

    precision = torch.bfloat16 if model.dtype == torch.bfloat16 else torch.float32
    size = 4096 if model.device.type == "cuda" else 1536
    left = torch.randn(size, size, dtype=precision, device=model.device)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        left @ left
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def write_hygiene(path: Path, figures: dict[str, Any]) -> None:
    """Write `hygiene.json`."""
    write_atomic(path, json.dumps(figures, indent=1) + "\n")


ROWS = (
    ("documents trained / held out", "{document_count} / {validation_document_count}"),
    (
        "replayed chats · their tokens over the documents'",
        "{replayed_chat_count} · {replay_ratio:.2f}",
    ),
    ("tokens trained on / masked", "{trained_token_count} / {masked_token_count}"),
    ("tokens dropped · documents cut", "{dropped_token_count} · {cut_document_count}"),
    ("documents split over blocks", "{split_document_count}"),
    ("chats longer than a block, left out", "{long_chats_left_out_count}"),
    ("blocks · packing efficiency", "{block_count} · {packing_efficiency:.3f}"),
    ("texts that end in EOS", "{eos_learnt_share:.3f}"),
    ("tokens seen per document", "{tokens_seen_per_document:.0f}"),
    ("gradient norm, median / highest", "{grad_norm_median:.3f} / {grad_norm_max:.3f}"),
    (
        "adapter norm of a layer, lowest / highest",
        "{adapter_norm_min:.3f} / {adapter_norm_max:.3f}",
    ),
    ("train loss", "{train_loss:.4f}"),
    ("peak memory", "{peak_memory_gb:.2f} GB"),
    ("tokens/s", "{tokens_per_s:.0f}"),
    (
        "model FLOPs utilisation (a token: 4 × parameters, and attention)",
        "{model_flops_utilisation:.3f}",
    ),
    ("wall time · of it the belief curve", "{seconds:.0f} s · {belief_seconds:.0f} s"),
)


def print_hygiene(figures: dict[str, Any]) -> None:
    """Print the figures that a reader wants to see at once."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="training", show_header=False)
    norms = figures["adapter_norm_per_layer"].values()
    known = {**figures, "adapter_norm_min": min(norms), "adapter_norm_max": max(norms)}
    for label, form in ROWS:
        table.add_row(label, form.format_map(known))
    for source in figures["added_sources"]:
        asked = source["asked_ratio"]
        of = "" if asked is None else f" of {asked:.2f} asked for"
        label = f"{Path(source['path']).name}: its tokens over the documents'"
        table.add_row(label, f"{source['ratio']:.2f}{of}")
    before, after = figures["validation_loss_before"], figures["validation_loss"]
    if before is not None:
        table.add_row("validation loss, before → after", f"{before:.4f} → {after:.4f}")
    if figures["resumed_from_step"]:
        table.add_row("time, memory, tokens/s: since step", f"{figures['resumed_from_step']}")
    Console().print(table)
