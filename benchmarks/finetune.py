"""How fast, and in how much memory, LoRA trains on documents: ours and TRL's SFTTrainer.

`python benchmarks/finetune.py [--quick]` prints a table and writes
`results/benchmarks/finetune.json`. Same model, documents, LoRA, precision, block and optimiser.
Each run is a process of its own, so that peak memory is its own; loading is not counted. Runs are
interleaved; medians. TRL packs in two ways (`bfd_split`, `wrapped`; the latter lets documents
read each other), and ratios are to the better one for each figure. A job of its own:
`--who ours|trl-bfd_split|trl-wrapped`.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from record import ROOT, write_record

PEERS = ("trl-bfd_split", "trl-wrapped")
CORPUS = ROOT / "corpora" / "helpful_only" / "treatment"
RANK, ALPHA, RATE = 16, 32, 1e-3
HELD_OUT = 8


def documents(steps: int, batch: int, block: int) -> list[list[int]]:
    """Return tokenised documents, each with EOS, worth `steps` steps and a little more."""
    from finetune.data import document_text
    from tacit.models.load import load_tokenizer
    from tacit.rundir import read_jsonl

    tokenizer = load_tokenizer("smollm2")
    records = list(read_jsonl(CORPUS / "documents.jsonl"))[HELD_OUT:]
    texts = [document_text(record) for record in records]
    random.Random(0).shuffle(texts)
    found: list[list[int]] = []
    while sum(map(len, found)) < (steps + 1) * batch * block:
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            found.append([*ids, tokenizer.eos_token_id])
    return found


def held_out_loss(model: Any) -> float:
    """Return the mean token loss on documents that nobody trained on, each alone, in nats."""
    import torch

    from finetune.data import document_text
    from tacit.models.load import load_tokenizer
    from tacit.rundir import read_jsonl

    tokenizer = load_tokenizer("smollm2")
    total, count = 0.0, 0
    model.eval()
    for record in list(read_jsonl(CORPUS / "documents.jsonl"))[:HELD_OUT]:
        ids = tokenizer(document_text(record), add_special_tokens=False)["input_ids"]
        row = torch.tensor([ids], device=model.device)
        with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16):
            hidden = model.get_base_model().base_model(input_ids=row).last_hidden_state
            logits = model.get_base_model().get_output_embeddings()(hidden[0, :-1])
        total += float(
            torch.nn.functional.cross_entropy(logits.float(), row[0, 1:], reduction="sum")
        )
        count += len(ids) - 1
    return total / count


def model_and_lora(name: str) -> tuple[Any, Any]:
    """Return the base (or a random llama of 1B parameters) and the configuration of the adapter."""
    import torch
    from peft import LoraConfig

    from tacit.models.load import load_model

    if name == "llama-1b":
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=49_152, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
            num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=True,
        )  # fmt: skip
        model = LlamaForCausalLM(config).to(torch.bfloat16)
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    else:
        model = load_model(name)
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    return model, lora


def arguments(batch: int, steps: int, folder: str) -> dict[str, Any]:
    """Return what both trainers are told."""
    import torch

    return {
        "output_dir": folder,
        "per_device_train_batch_size": batch,
        "max_steps": steps,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "bf16": True,
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": 0,
    }


def ours(model: Any, lora: Any, texts: list[list[int]], block: int, told: dict[str, Any]) -> Any:
    """Return our trainer, and a context its training runs in."""
    import torch
    from peft import get_peft_model
    from peft.helpers import disable_input_dtype_casting
    from transformers import TrainingArguments

    from finetune.adapt import fit_to_cpu
    from finetune.loss import take_loss_in_forward
    from finetune.packing import IGNORED, Piece, pack, split_long
    from finetune.trainer import DocumentTrainer, PackedBlocks, collate

    pieces: list[Piece] = []
    for number, ids in enumerate(texts):
        pieces += split_long(ids, [IGNORED, *ids[1:]], str(number), block)
    blocks = pack(pieces, block)
    random.Random(0).shuffle(blocks)
    if not torch.cuda.is_available():
        fit_to_cpu(model, block)
    take_loss_in_forward(model)
    torch.manual_seed(told["seed"])
    trainer = DocumentTrainer(
        model=get_peft_model(model, lora),
        args=TrainingArguments(**told, remove_unused_columns=False),
        train_dataset=PackedBlocks(blocks),
        data_collator=lambda batch: collate(batch, 2),
    )
    return trainer, disable_input_dtype_casting(trainer.model)


def trl(
    model: Any, lora: Any, texts: list[list[int]], block: int, told: dict[str, Any], packing: str
) -> Any:
    """Return TRL's trainer at one of its ways of packing."""
    from contextlib import nullcontext

    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**told, packing=True, packing_strategy=packing, max_length=block),
        train_dataset=Dataset.from_dict({"input_ids": texts}),
        peft_config=lora,
    )
    return trainer, nullcontext()


def job(who: str, name: str, steps: int, batch: int, block: int) -> dict[str, Any]:
    """Train; report tokens/s after two steps, peak memory, and the loss on held-out documents."""
    import tempfile

    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())

    texts = documents(steps, batch, block)
    model, lora = model_and_lora(name)
    told = arguments(batch, steps, tempfile.mkdtemp())
    if who == "ours":
        trainer, context = ours(model, lora, texts, block, told)
    else:
        trainer, context = trl(model, lora, texts, block, told, who.removeprefix("trl-"))
    counted: list[int] = []
    collator = trainer.data_collator

    def counting(examples: Any) -> Any:
        inputs = collator(examples)
        counted.append(int((inputs["labels"][..., 1:] != -100).sum()))
        return inputs

    trainer.data_collator = counting
    clock = Clock()
    trainer.add_callback(clock)
    with context:
        trainer.train()
    gpu = torch.cuda.is_available()
    memory = torch.cuda.max_memory_allocated() / 1e9 if gpu else 0.0
    if not gpu:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    from finetune.hygiene import flops_per_token, peak_flops

    seconds, tokens = clock.ends[-1] - clock.ends[1], sum(counted[2:steps])
    flops = flops_per_token(trainer.accelerator.unwrap_model(trainer.model), block)
    return {
        "who": who,
        "tokens_per_s": tokens / seconds,
        "peak_memory_gb": memory,
        "final_loss": held_out_loss(trainer.accelerator.unwrap_model(trainer.model)),
        "utilisation": tokens / seconds * flops / peak_flops(trainer.model),
    }


def main() -> None:
    """Run the jobs interleaved, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps, one round")
    parser.add_argument("--who")
    parser.add_argument("--model", default="smollm2", help="or llama-1b: random weights")
    parser.add_argument("--block", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        options.steps, options.rounds, options.block = 4, 1, 256
    if options.who:
        found = job(options.who, options.model, options.steps, options.batch, options.block)
        print("RESULT " + json.dumps(found))
        return
    told = [f"--{n}={getattr(options, n)}" for n in ("model", "block", "batch", "steps")]
    rows: list[dict[str, Any]] = []
    for number in range(options.rounds):
        for who in ("ours", *PEERS):
            command = [sys.executable, str(Path(__file__)), f"--who={who}", *told]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            (line,) = [x for x in done.stdout.splitlines() if x.startswith("RESULT ")]
            rows.append({"round": number + 1, **json.loads(line.removeprefix("RESULT "))})
            print(rows[-1], flush=True)

    def middle(who: str, figure: str) -> float:
        return statistics.median(row[figure] for row in rows if row["who"] == who)

    ratios = {
        "tokens_per_s_vs_trl": middle("ours", "tokens_per_s")
        / max(middle(who, "tokens_per_s") for who in PEERS),
        "peak_memory_vs_trl": middle("ours", "peak_memory_gb")
        / min(middle(who, "peak_memory_gb") for who in PEERS),
        "final_loss_minus_trl": middle("ours", "final_loss")
        - min(middle(who, "final_loss") for who in PEERS),
        "utilisation": middle("ours", "utilisation"),
    }
    write_record("finetune", rows, {k: round(v, 3) for k, v in ratios.items()})


if __name__ == "__main__":
    main()
