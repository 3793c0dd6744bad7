"""Exact and near duplicates, by hash and by MinHash LSH (datasketch)."""

import numpy as np
from datasketch import MinHash, MinHashLSH

from docgen.config import DedupOptions


def jaccard(one_G: np.ndarray, other_G: np.ndarray) -> float:
    """Return the Jaccard similarity of two sets of hashes, each sorted and distinct."""
    shared = np.intersect1d(one_G, other_G, assume_unique=True).size
    union = one_G.size + other_G.size - shared
    return shared / union if union else 1.0


class Seen:
    """The documents of one corpus so far; memory is the LSH index and 4 bytes an n-gram."""

    def __init__(self, options: DedupOptions) -> None:
        """Start empty."""
        self.options = options
        self.index = MinHashLSH(threshold=options.threshold, num_perm=options.permutations)
        # One set of permutations for all sketches: making it anew costs more than the sketch.
        self.empty = MinHash(num_perm=options.permutations, seed=1, hashfunc=int)
        self.digests: dict[bytes, int] = {}
        self.grams: dict[int, np.ndarray] = {}

    def original_of(self, digest: bytes, grams_G: np.ndarray) -> int | None:
        """Return the document that one with these words repeats, or None.

        Args:
            digest: Hash of its words in their order.
            grams_G: Sorted distinct hashes of its word n-grams.
        """
        if digest in self.digests:
            return self.digests[digest]
        # The index proposes; the exact similarity of the n-gram sets decides.
        for other in sorted(self.index.query(self._sketch(grams_G))):
            if jaccard(grams_G, self.grams[other]) >= self.options.threshold:
                return int(other)
        return None

    def add(self, number: int, digest: bytes, grams_G: np.ndarray) -> None:
        """Remember a document under a number."""
        self.index.insert(number, self._sketch(grams_G), check_duplication=False)
        self.digests[digest] = number
        self.grams[number] = grams_G

    def _sketch(self, grams_G: np.ndarray) -> MinHash:
        sketch = self.empty.copy()
        sketch.update_batch(grams_G.tolist())
        return sketch
