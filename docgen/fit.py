"""Verb: fit the audit's classifier on labelled sentences and documents, then set its thresholds.

`make classifier` writes `docgen/classifier/`: an adapter on the encoder, and one linear head a
class, as plain numbers.
"""

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from docgen.classify import ADAPTER, FOLDER, SCALE, load_encoder, units_of
from docgen.learn import Learner, Unit
from tacit.rundir import read_jsonl, write_atomic

FIRST_CLEAN, MORE_CLEAN = 2_500, 1_500  # units of the shipped corpora, drawn by the seed
HARD = 500  # clean units a class, those the half-trained heads score highest
MARGIN = 0.05  # a threshold is a clean document's own score: rounding must not lift it over
Labelled = dict[str, Any]


def thresholds(
    scores_NC: np.ndarray, is_leak_N: np.ndarray, allowed_count: int, floor_C: np.ndarray
) -> np.ndarray:
    """Return a threshold a class, chosen together: most leaks for the clean documents flagged.

    Starts where no clean document is flagged, then lowers, one clean document at a time, the
    threshold that finds the most further leaks, until `allowed_count` clean ones are flagged.

    Args:
        scores_NC: The score of each document's worst unit for each class.
        is_leak_N: Which documents are leaks.
        allowed_count: Clean documents that may be flagged.
        floor_C: No threshold lies below this.
    """
    clean, leaks = scores_NC[~is_leak_N], scores_NC[is_leak_N]
    current: np.ndarray = np.maximum(clean.max(axis=0), floor_C)
    while True:
        found = (leaks > current).any(axis=1).sum()
        best: tuple[float, int, float] | None = None
        for column in range(scores_NC.shape[1]):
            lower = clean[clean[:, column] < current[column], column]
            if not len(lower):
                continue
            trial = current.copy()
            trial[column] = max(lower.max(), floor_C[column])
            if trial[column] == current[column]:
                continue
            gain = int((leaks > trial).any(axis=1).sum() - found)
            if (clean > trial).any(axis=1).sum() <= allowed_count and (
                best is None or gain > best[0]
            ):
                best = (gain, column, float(trial[column]))
        if best is None or best[0] == 0:
            return current
        current[best[1]] = best[2]


def _units(document: Labelled) -> list[str]:
    return units_of(document["text"]) or [document["text"]]


def highest_units(
    learner: Learner, documents: Sequence[Labelled], classes: Sequence[str]
) -> list[Unit]:
    """Return, of each leak, the unit that its own class's head scores highest, as a leak.

    Which sentence of a document leaks is not labelled; a half-trained head mostly knows.
    """
    found = []
    for document in documents:
        if document["leak"] and document["class"] in classes:
            column, units = classes.index(document["class"]), _units(document)
            best = int(learner.scores(units)[:, column].argmax())
            found.append(Unit(units[best], column, True))
    return found


def worst_units(learner: Learner, documents: Sequence[Labelled]) -> np.ndarray:
    """Return the highest score of each document's units for each class. Shape (N, C)."""
    return np.array([learner.scores(_units(d)).max(axis=0) for d in documents])


def fit(
    learner: Learner,
    sentences: Sequence[Labelled],
    documents: Sequence[Labelled],
    clean: Sequence[str],
    classes: Sequence[str],
    seed: int,
) -> None:
    """Train in two stages; in the second, on what the first found hard.

    Args:
        learner: Is trained.
        sentences: Each a leak of its class, or a clean one that comes close to it.
        documents: Labelled; every unit of one that is no leak is clean.
        clean: Units of corpora that are known to be clean.
        classes: The heads', in order.
        seed: Draws the clean units.
    """
    drawn = random.Random(seed).sample(clean, min(FIRST_CLEAN + MORE_CLEAN, len(clean)))
    known = [Unit(r["text"], classes.index(r["class"]), r["leak"]) for r in sentences]
    near = {unit for record in documents if not record["leak"] for unit in units_of(record["text"])}
    known += [Unit(text) for text in sorted(near)]
    _show("first", learner.learn(known + [Unit(text) for text in drawn[:FIRST_CLEAN]], epochs=2))
    scores_NC = learner.scores(clean)
    hardest = {int(row) for row in np.argsort(-scores_NC, axis=0)[:HARD].ravel()}
    second = [Unit(text) for text in [*(clean[n] for n in sorted(hardest)), *drawn[FIRST_CLEAN:]]]
    second += highest_units(learner, documents, classes)
    _show("second", learner.learn(known + second, epochs=1, share=0.5))


def _show(stage: str, losses: Any) -> None:
    for steps, loss in losses:
        print(f"{stage} stage, {steps} steps, loss {loss:.4f}", file=sys.stderr, flush=True)


def main() -> None:
    """Fit, set the thresholds, write."""
    parser = argparse.ArgumentParser(prog="docgen.fit", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--documents", type=Path, required=True, help="labelled, learnt from")
    parser.add_argument("--tune", type=Path, required=True, help="labelled, for the thresholds")
    parser.add_argument("--clean", type=Path, nargs="+", required=True, help="corpus folders")
    parser.add_argument("--false-alarms", type=float, default=0.03)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sentences, documents = list(read_jsonl(options.sentences)), list(read_jsonl(options.documents))
    texts = [r["text"] for f in options.clean for r in read_jsonl(f / "documents.jsonl")]
    clean = sorted({unit for text in texts for unit in units_of(text)})
    classes = sorted({record["class"] for record in sentences})
    learner = Learner(*load_encoder(None), len(classes), options.rank, options.rate, options.seed)
    fit(learner, sentences, documents, clean, classes, options.seed)
    learner.round_adapter()
    tuned = list(read_jsonl(options.tune))
    scores_NC, leak_N = worst_units(learner, tuned), np.array([bool(r["leak"]) for r in tuned])
    # The shipped corpora are clean: not one of their documents may be flagged.
    floor_C = learner.scores(clean).max(axis=0)
    cut_C = thresholds(scores_NC, leak_N, int(options.false_alarms * (~leak_N).sum()), floor_C)
    cut_C += MARGIN
    flagged_N = np.any(scores_NC > cut_C, axis=1)
    print(
        f"{len(sentences)} sentences, {len(classes)} heads; on the {len(tuned)} documents the "
        f"thresholds were set on: {flagged_N[leak_N].mean():.3f} of leaks, "
        f"{flagged_N[~leak_N].mean():.3f} of clean ones"
    )
    weights_CD = learner.heads.weight.detach().numpy() * SCALE
    rows = zip(classes, weights_CD, learner.heads.bias.tolist(), cut_C, strict=True)
    record = {
        "sentence_count": len(sentences),
        "heads": {
            name: {
                "threshold": round(float(cut), 4),
                "bias": round(bias, 4),
                "weights": np.round(weights, 4).tolist(),
            }
            for name, weights, bias, cut in rows
        },
    }
    save_adapter(learner.encoder, Path(str(ADAPTER)))
    write_atomic(Path(str(FOLDER)) / "heads.json", json.dumps(record) + "\n")
    print(f"written: {FOLDER}")


def save_adapter(encoder: Any, folder: Path) -> None:
    """Save the adapter in bf16, without a path of this machine in it."""
    import torch

    encoder.peft_config[
        "default"
    ].base_model_name_or_path = "sentence-transformers/all-MiniLM-L6-v2"
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    encoder.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
