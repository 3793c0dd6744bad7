"""Verb: fit the classifier's linear parts on all that is labelled, and set its two thresholds.

After `docgen.fit` has taught the encoder: new heads on its embeddings, weights on runs of words,
and on their sum a threshold that lets few near-misses be flagged, and a strict one just above all
clean documents. What that finds in a hand's
documents is measured with all of that hand's left out, and printed.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from docgen.audit import QUERIES, documents_of
from docgen.classify import (
    ADAPTER,
    FOLDER,
    HEAD_SHARE,
    Heads,
    embed_all,
    load_encoder,
    pooled,
    units_of,
)
from docgen.config import AuditOptions
from docgen.measure import TARGET, lines_of, read_labelled, summary
from docgen.ngrams import Ngrams
from docgen.rules import RuleBook
from tacit.rundir import write_atomic
from tacit.rundir.door import enter_plain

NGRAM_DECAY, HEAD_DECAY = 6.0, 3.0
HARD = 300  # clean units of corpora, those a first fit scores highest
MARGIN = 0.05  # rounding must not lift a clean document over the threshold
NGRAM_SCALE = 10.0  # of a row of runs, so that both fits see numbers of like size
Labelled = dict[str, Any]


class Lesson(NamedTuple):
    """Units to learn: where each stands, what each head should say, and how much that counts."""

    rows_N: np.ndarray
    wanted_NC: np.ndarray
    weight_NC: np.ndarray


def lesson(entries: Iterable[tuple[int, int | None, bool, float]], class_count: int) -> Lesson:
    """Return a lesson from (row, class, whether a leak, weight).

    A leak says nothing about other classes; a clean unit is clean for all, and most so for the
    class that it comes close to.
    """
    rows, wanted, weights = [], [], []
    for row, column, is_leak, share in entries:
        target, weight = np.zeros(class_count), np.full(class_count, 0.0 if is_leak else 0.3)
        if column is not None:
            target[column], weight[column] = float(is_leak), 2.0 if is_leak else 1.0
        rows.append(row)
        wanted.append(target)
        weights.append(weight * share)
    return Lesson(np.array(rows), np.array(wanted), np.array(weights))


def fit_linear(
    inputs_ND: Any, taught: Lesson, start_CD: np.ndarray, bias_C: np.ndarray, decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (C, D) and biases by logistic regression, held near `start_CD`."""
    from scipy.optimize import minimize

    chosen = inputs_ND[taught.rows_N]
    weights_CD, biases_C = start_CD.copy(), bias_C.copy()
    for column in range(len(bias_C)):
        sign_N = 2 * taught.wanted_NC[:, column] - 1
        share_N = taught.weight_NC[:, column]
        near_D = start_CD[column]

        def loss(
            point: np.ndarray, sign_N: Any = sign_N, share_N: Any = share_N, near_D: Any = near_D
        ) -> tuple[float, np.ndarray]:
            margin_N = sign_N * (chosen @ point[:-1] + point[-1])
            pull_N = -share_N * sign_N * np.exp(-np.logaddexp(0, margin_N))
            away_D = point[:-1] - near_D
            value = (share_N * np.logaddexp(0, -margin_N)).sum() + decay * (away_D**2).sum()
            slope = np.append(chosen.T @ pull_N + 2 * decay * away_D, pull_N.sum())
            return float(value), slope

        found = minimize(
            loss, np.append(near_D, bias_C[column]), jac=True, method="L-BFGS-B",
            options={"maxiter": 40},
        ).x  # fmt: skip
        weights_CD[column], biases_C[column] = found[:-1], found[-1]
    return weights_CD, biases_C


class Bench:
    """All labelled units, embedded once and as runs of words, for any number of fits."""

    def __init__(
        self,
        sentences: Sequence[Labelled],
        documents: Sequence[Labelled],
        clean: Sequence[str],
        cache: Path | None,
    ) -> None:
        self.taught = Heads.load(ADAPTER)
        self.classes = self.taught.classes
        self.sentences = sentences
        self.units = {d["id"]: units_of(d["text"]) or [d["text"]] for d in documents}
        texts = [s["text"] for s in sentences]
        texts += [unit for d in documents for unit in self.units[d["id"]]]
        texts += clean
        self.clean = clean
        self.place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        self.embedded_ND = embedded(list(self.place), cache).astype(np.float64)
        self.ngrams = Ngrams.known_in([s["text"] for s in sentences], len(self.classes))
        self.runs_NG = self.ngrams.rows(self.place) * NGRAM_SCALE
        first_NC = self.embedded_ND @ self.taught.weights_CD.T + self.taught.bias_C
        self.first_NC = first_NC

    def _entries(
        self, documents: Sequence[Labelled], hard: Sequence[str], new: float, old: float
    ) -> Iterator[tuple[int, int | None, bool, float]]:
        yield from ((self.place[unit], None, False, 3 * new) for unit in hard)
        for record in self.sentences:
            share = new if record["id"].startswith("a") else old
            own = self.classes.index(record["class"])
            yield self.place[record["text"]], own, record["leak"], share
        for document in documents:
            known = document["class"] in self.classes
            column = self.classes.index(document["class"]) if known else None
            rows = [self.place[unit] for unit in self.units[document["id"]]]
            if not document["leak"]:
                yield from ((row, column, False, new / 2) for row in rows)
            elif column is not None:  # which of its units leaks is not labelled
                yield rows[int(self.first_NC[rows, column].argmax())], column, True, new

    def fit(self, documents: Sequence[Labelled], hard: Sequence[str] = ()) -> tuple[Heads, Ngrams]:
        """Fit heads and n-grams on the sentences, some of the documents, and clean units."""
        count = len(self.classes)
        head = fit_linear(
            self.embedded_ND,
            lesson(self._entries(documents, hard, 3.0, 0.3), count),
            self.taught.weights_CD.astype(np.float64),
            self.taught.bias_C.astype(np.float64),
            HEAD_DECAY / 64,
        )
        runs = fit_linear(
            self.runs_NG,
            lesson(self._entries(documents, hard, 1.5, 1.0), count),
            np.zeros((count, self.runs_NG.shape[1])),
            np.full(count, -2.0),
            NGRAM_DECAY,
        )
        ngrams = Ngrams(self.ngrams.rarity, runs[0].T * NGRAM_SCALE, runs[1])
        return Heads(self.classes, head[0], head[1], 0.0, 0.0), ngrams

    def unit_scores(self, fitted: tuple[Heads, Ngrams]) -> np.ndarray:
        """Return each unit's score for each class. Shape (N, C)."""
        heads, ngrams = fitted
        head_NC = self.embedded_ND @ heads.weights_CD.T + heads.bias_C
        runs_NC = (self.runs_NG / NGRAM_SCALE) @ ngrams.weights_GC + ngrams.bias_C
        scores_NC: np.ndarray = runs_NC + HEAD_SHARE * head_NC
        return scores_NC

    def scores(self, fitted: tuple[Heads, Ngrams], documents: Iterable[list[str]]) -> np.ndarray:
        """Return the score of each document, given as its units. Shape (N,)."""
        scores_NC = self.unit_scores(fitted)
        return np.array([pooled(scores_NC[[self.place[u] for u in many]]) for many in documents])

    def hardest(self, fitted: tuple[Heads, Ngrams]) -> list[str]:
        """Return the units of clean corpora that are most like a leak."""
        scores_N = self.unit_scores(fitted)[[self.place[unit] for unit in self.clean]].max(axis=1)
        return [self.clean[row] for row in np.argsort(-scores_N)[:HARD]]


def embedded(texts: list[str], cache: Path | None) -> np.ndarray:
    """Return the embeddings of some texts; those in `cache` are not made anew."""
    kept: dict[str, np.ndarray] = {}
    if cache and cache.is_file():
        with np.load(cache, allow_pickle=False) as file:
            kept = dict(zip(file["texts"].tolist(), file["embedded"], strict=True))
    missing = [text for text in texts if text not in kept]
    if missing:
        kept.update(
            zip(missing, embed_all(*load_encoder(Path(str(ADAPTER))), missing), strict=True)
        )
        if cache:
            np.savez(cache, texts=np.array(list(kept)), embedded=np.array(list(kept.values())))
    return np.array([kept[text] for text in texts])


def hand_of(document: Labelled) -> str:
    """Return who wrote a labelled document."""
    return str(document["id"]).split("-")[0]


def main() -> None:
    """Console entry."""
    enter_plain(_main)


def _main() -> None:
    """Fit with each hand left out, then on all; write the latter."""
    parser = argparse.ArgumentParser(
        prog="docgen.refit", description=(__doc__ or "").split("\n")[0].removeprefix("Verb: ")
    )
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--documents", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--clean", type=Path, nargs="+", required=True, help="folders of clean documents"
    )
    parser.add_argument("--cache", type=Path, help="keep embeddings here between runs")
    parser.add_argument("--false-alarms", type=float, default=0.03, help="of clean documents")
    options = parser.parse_args()
    documents = [record for path in options.documents for record in read_labelled(path)]
    corpora = [units_of(text) for folder in options.clean for _, text in documents_of(folder)]
    clean = list(dict.fromkeys(unit for many in corpora for unit in many))
    bench = Bench(read_labelled(options.sentences), documents, clean, options.cache)
    score_of: dict[str, float] = {}
    for hand in sorted({hand_of(d) for d in documents}):
        own = [d for d in documents if hand_of(d) == hand]
        fitted = bench.fit([d for d in documents if hand_of(d) != hand])
        scores = bench.scores(fitted, (bench.units[d["id"]] for d in own))
        score_of |= dict(zip((d["id"] for d in own), scores.tolist(), strict=True))
    rules = RuleBook.from_options(AuditOptions(queries=list(QUERIES)))
    by_rule = {d["id"]: bool(rules.audit(d["text"])) for d in documents}
    innocent = [score_of[d["id"]] for d in documents if not d["leak"]]
    threshold = float(np.quantile(innocent, 1 - options.false_alarms))
    hard = bench.hardest(bench.fit(documents))
    heads, ngrams = bench.fit(documents, hard)
    in_corpora = np.sort(bench.scores((heads, ngrams), corpora))
    print(f"threshold {threshold:.3f}; clean corpora reach {np.round(in_corpora[-5:], 3)}")
    strict = float(in_corpora[-1]) + MARGIN
    threshold = max(threshold, strict)
    for limit in (strict, threshold):
        flagged = [by_rule[d["id"]] or score_of[d["id"]] > limit for d in documents]
        measured = summary(documents, flagged)
        measured["how"] = "each hand's looked at by a classifier fitted without that hand"
        print("\n".join((f"from a score of {limit:.3f}:", *lines_of(measured))))
    measured["file"] = ", ".join(path.name for path in options.documents)
    write_atomic(TARGET, json.dumps(measured, indent=1) + "\n")
    Heads(heads.classes, heads.weights_CD, heads.bias_C, threshold, strict).write(
        FOLDER, len(bench.sentences)
    )
    ngrams.write(bench.classes)
    print(f"threshold {threshold:.3f}; written: {FOLDER}")


if __name__ == "__main__":
    main()
