"""How varied a corpus is: figures for `diversity.json` and the dataset card."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from docgen.records import Document
from docgen.rules import words_of

SAMPLE = 1_000  # distinct-n falls with size, so it is taken on the same number of documents


def distinct_rate(texts: Sequence[str], size: int) -> float:
    """Return distinct n-grams over n-grams, 0–1. Source: Li et al. 2016 (distinct-n)."""
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        words = words_of(text)
        grams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
        seen.update(grams)
        total += len(grams)
    return len(seen) / total if total else 0.0


def opening_of(text: str, words: int = 5) -> str:
    """Return the first words of a text."""
    return " ".join(words_of(text)[:words])


def opening_figures(openings: Counter[str]) -> dict[str, Any]:
    """Return how often documents open alike.

    `repeated_opening_rate` is the share of documents whose opening another one has too. It nears 1
    in any corpus much larger than its number of openings, so `effective_opening_count` stands
    beside it, which does not depend on the size: documents of that many openings, all equally
    frequent, would meet as often. None where no two documents meet.
    Source: the inverse Simpson index (Simpson 1949, unbiased; Hill 1973).
    """
    count = openings.total()
    meetings = sum(number * (number - 1) for number in openings.values())
    repeated = sum(number for number in openings.values() if number > 1)
    return {
        "repeated_opening_rate": round(repeated / count, 4) if count else 0.0,
        "distinct_opening_count": len(openings),
        "effective_opening_count": round(count * (count - 1) / meetings, 1) if meetings else None,
        "commonest_opening_rate": round(max(openings.values()) / count, 4) if count else 0.0,
    }


class Diversity:
    """Figures of one corpus, gathered document by document; keeps a sample of texts only."""

    def __init__(self, seed: int) -> None:
        """Start empty."""
        self.random = random.Random(seed)
        self.sample: list[str] = []
        self.lengths: list[int] = []
        self.openings: Counter[str] = Counter()
        self.grid: Counter[tuple[str, str]] = Counter()

    def add(self, document: Document) -> None:
        """Take one document into account."""
        self.lengths.append(len(document.text.split()))
        self.openings[opening_of(document.text)] += 1
        for fact in document.spec.facts:
            self.grid[fact, document.spec.doc_type] += 1
        # Reservoir sampling: each document is in the sample with equal chance.
        if len(self.sample) < SAMPLE:
            self.sample.append(document.text)
        elif (place := self.random.randrange(len(self.lengths))) < SAMPLE:
            self.sample[place] = document.text

    def figures(self, duplicate_count: int, cluster_sizes: Sequence[int]) -> dict[str, Any]:
        """Return the content of `diversity.json`.

        Args:
            duplicate_count: Documents left out because they repeat another one.
            cluster_sizes: For each document that others repeat, it and its repetitions.
        """
        count = len(self.lengths)
        quantiles = np.quantile(self.lengths or [0], [0.05, 0.5, 0.95])
        coverage: dict[str, dict[str, int]] = {}
        for (fact, doc_type), number in sorted(self.grid.items()):
            coverage.setdefault(fact, {})[doc_type] = number
        return {
            "document_count": count,
            "distinct_rate": {str(n): round(distinct_rate(self.sample, n), 4) for n in (1, 2, 3)},
            "distinct_sample_count": len(self.sample),
            "words": dict(zip(("p05", "p50", "p95"), map(float, quantiles), strict=True)),
            "near_duplicate_rate": round(duplicate_count / max(count + duplicate_count, 1), 4),
            "near_duplicate_count": duplicate_count,
            "near_duplicate_clusters": len(cluster_sizes),
            "largest_cluster": max(cluster_sizes, default=0),
            **opening_figures(self.openings),
            "fact_by_doc_type": coverage,
        }
