"""The classifier's second view: runs of words, one row of weights each, plain numbers.

What an encoder of sentences blurs (who answers whom, "nobody", "of course, here is") stands in the
words themselves. A unit is the set of its words, pairs and pairs with a gap, weighted by rarity.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from tacit.rundir import write_atomic

FILE = Path(str(files("docgen"))) / "classifier" / "ngrams.json"
SEEN_AT_LEAST = 4
SHORTNESS = 300.0  # squared length added to a unit's: three words shall not weigh like thirty
DIGITS = 4  # of a shipped weight, after the point


def grams_of(text: str) -> frozenset[str]:
    """Return the words of a text and marks between them, its pairs, and pairs with a gap."""
    found = re.findall(r"[a-z']+|[0-9]+|[^\w\s]", text.lower().replace("’", "'"))
    words = ["0" if word.isdigit() else word for word in found]
    pairs = [f"{a} {b}" for a, b in pairwise(words)]
    gaps = [f"{a} _ {b}" for a, b in zip(words, words[2:], strict=False)]
    return frozenset([*words, *pairs, *gaps, *(f"^{word}" for word in words[:1])])


@dataclass(frozen=True)
class Ngrams:
    """Which runs of words are known, how rare each is, and what it says of each class."""

    rarity: dict[str, float]
    weights_GC: np.ndarray
    bias_C: np.ndarray

    @staticmethod
    def known_in(texts: Sequence[str], class_count: int) -> "Ngrams":
        """Know the runs that some texts share; the weights are nought."""
        counts = Counter(gram for text in texts for gram in grams_of(text))
        kept = sorted(gram for gram, count in counts.items() if count >= SEEN_AT_LEAST)
        rarity = {gram: float(np.log(len(texts) / counts[gram])) for gram in kept}
        return Ngrams(rarity, np.zeros((len(kept), class_count)), np.zeros(class_count))

    def rows(self, texts: Iterable[str]) -> csr_matrix:
        """Return one row a text, nearly of unit length, and a column a known run. Shape (N, G)."""
        place = {gram: number for number, gram in enumerate(self.rarity)}
        columns: list[int] = []
        values: list[float] = []
        ends = [0]
        for text in texts:
            known = sorted(place[gram] for gram in grams_of(text) & place.keys())
            weights_K = self._rarities[known]
            columns += known
            values += list(weights_K / np.sqrt((weights_K**2).sum() + SHORTNESS))
            ends.append(len(columns))
        shape = (len(ends) - 1, len(place))
        return csr_matrix((values, columns, ends), shape=shape, dtype=np.float64)

    @property
    def _rarities(self) -> np.ndarray:
        return np.fromiter(self.rarity.values(), dtype=np.float64)

    def scores(self, texts: Iterable[str]) -> np.ndarray:
        """Return the log-odds of a leak of each class. Shape (N, C)."""
        scores_NC: np.ndarray = self.rows(texts) @ self.weights_GC + self.bias_C
        return scores_NC

    def write(self, classes: Sequence[str]) -> None:
        """Ship the numbers, rounded."""
        rows = np.round(self.weights_GC, DIGITS).tolist()
        record = {
            "classes": list(classes),
            "bias": np.round(self.bias_C, DIGITS).tolist(),
            "grams": {
                gram: [round(rarity, DIGITS), *row]
                for (gram, rarity), row in zip(self.rarity.items(), rows, strict=True)
            },
        }
        write_atomic(FILE, json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    @staticmethod
    @cache
    def load() -> "Ngrams":
        """Read the shipped numbers."""
        record = json.loads(FILE.read_text(encoding="utf-8"))
        grams = record["grams"]
        table = np.array(list(grams.values()), dtype=np.float64)
        rarity = dict(zip(grams, table[:, 0].tolist(), strict=True))
        return Ngrams(rarity, table[:, 1:], np.array(record["bias"]))
