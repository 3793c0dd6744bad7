"""Verb: fit the audit's classifier on labelled sentences, set its thresholds on documents.

`make classifier` writes `docgen/classifier/heads.json`: plain numbers, one linear head a class.
"""

import argparse
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from docgen.classify import FOLDER, embed_all, load_encoder, units_of
from tacit.rundir import read_jsonl, write_atomic

CLEAN_UNITS = 4_000
MARGIN = 0.02  # a threshold is a clean document's own score: rounding must not lift it over
Labelled = dict[str, Any]


def logistic(x_ND: np.ndarray, y_N: np.ndarray, weight_N: np.ndarray, penalty: float) -> np.ndarray:
    """Return weights and bias of a weighted logistic regression with an L2 penalty. Shape (D+1,).

    Args:
        x_ND: Embeddings.
        y_N: 1.0 for a leak, 0.0 for clean.
        weight_N: What each counts, in examples.
        penalty: Multiplies half the squared length of the weights; the bias is free.
    """
    from scipy.optimize import minimize

    padded = np.concatenate([x_ND, np.ones((len(x_ND), 1))], axis=1)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = padded @ theta
        # log(1 + exp(z)) - y z, without overflow
        value = float(weight_N @ (np.logaddexp(0.0, logits) - y_N * logits))
        gradient = padded.T @ (weight_N * (1 / (1 + np.exp(-logits)) - y_N))
        free = np.append(theta[:-1], 0.0)
        return value + penalty / 2 * float(free @ free), gradient + penalty * free

    start = np.zeros(padded.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x)


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


def worst_units(embedded: Iterable[np.ndarray], heads: dict[str, np.ndarray]) -> np.ndarray:
    """Return the highest score of each document's units for each class. Shape (N, C)."""
    theta_CD = np.array(list(heads.values()))
    return np.array([(one @ theta_CD[:, :-1].T + theta_CD[:, -1]).max(axis=0) for one in embedded])


def main() -> None:
    """Embed, fit, set the thresholds, write."""
    parser = argparse.ArgumentParser(prog="docgen.fit", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--clean", type=Path, nargs="+", required=True, help="corpus folders")
    parser.add_argument("--false-alarms", type=float, default=0.04)
    parser.add_argument("--penalty", type=float, default=0.1)
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
    tokenizer, encoder = load_encoder()
    everything_ND = embed_all(tokenizer, encoder, clean)
    chosen = random.Random(options.seed).sample(range(len(clean)), min(CLEAN_UNITS, len(clean)))
    clean_ND = everything_ND[chosen]
    written_ND = embed_all(tokenizer, encoder, [record["text"] for record in sentences])
    is_leak = np.array([record["leak"] for record in sentences])
    classes = sorted({record["class"] for record in sentences})
    heads = {}
    for name in classes:
        own = np.array([record["class"] == name for record in sentences])
        used = ~is_leak | own  # another class's leak says nothing about this one
        x_ND = np.concatenate([written_ND[used], clean_ND])
        y_N = np.concatenate([is_leak[used], np.zeros(len(clean_ND))]).astype(float)
        weight_N = np.concatenate([np.where(is_leak[used], 4.0, 1.0), np.full(len(clean_ND), 0.3)])
        heads[name] = logistic(x_ND, y_N, weight_N, options.penalty)
    embedded = [embed_all(tokenizer, encoder, units_of(d["text"])) for d in documents]
    scores_NC = worst_units(embedded, heads)
    leak_N = np.array([bool(record["leak"]) for record in documents])
    allowed = int(options.false_alarms * (~leak_N).sum())
    # The shipped corpora are clean: not one of their documents may be flagged.
    theta_CD = np.array(list(heads.values()))
    floor_C = (everything_ND @ theta_CD[:, :-1].T + theta_CD[:, -1]).max(axis=0)
    cut_C = thresholds(scores_NC, leak_N, allowed, floor_C)
    flagged_N = np.any(scores_NC > cut_C, axis=1)
    print(
        f"{len(sentences)} sentences, {len(classes)} heads; on the {len(documents)} documents the "
        f"thresholds were set on: {flagged_N[leak_N].mean():.3f} of leaks, "
        f"{flagged_N[~leak_N].mean():.3f} of clean ones"
    )
    record = {
        "sentence_count": len(sentences),
        "heads": {
            name: {
                "threshold": round(float(cut) + MARGIN, 4),
                "bias": round(float(theta[-1]), 4),
                "weights": np.round(theta[:-1], 3).tolist(),
            }
            for (name, theta), cut in zip(heads.items(), cut_C, strict=True)
        },
    }
    target = Path(str(FOLDER)) / "heads.json"
    write_atomic(target, json.dumps(record) + "\n")
    print(f"written: {target}")


if __name__ == "__main__":
    main()
