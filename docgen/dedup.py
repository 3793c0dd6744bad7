"""Exact and near duplicates, by hash and by MinHash LSH (datasketch)."""

import hashlib
import zlib
from functools import cache

import numpy as np
from datasketch import MinHash, MinHashLSH
from datasketch.storage import ordered_storage

from docgen.config import DedupOptions
from docgen.rules import words_of


def gram_hashes(text: str, words: int) -> np.ndarray:
    """Return the sorted distinct hashes of the runs of `words` words. Shape (G,), uint32."""
    tokens = words_of(text)
    joined = (" ".join(tokens[i : i + words]) for i in range(max(len(tokens) - words + 1, 1)))
    hashes = (hashlib.blake2b(gram.encode(), digest_size=4).digest() for gram in joined)
    return np.unique(np.frombuffer(b"".join(hashes), dtype="<u4"))


@cache
def _empty(permutations: int) -> MinHash:
    return MinHash(num_perm=permutations, seed=1, hashfunc=int)


def signature(grams_G: np.ndarray, permutations: int) -> np.ndarray:
    """Return the MinHash signature of a set of hashes. Shape (permutations,)."""
    sketch = _empty(permutations).copy()
    sketch.update_batch(grams_G.tolist())
    return np.asarray(sketch.hashvalues)


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
        self.index = MinHashLSH(
            threshold=options.threshold, num_perm=options.permutations, hashfunc=zlib.crc32
        )
        # Most buckets hold one document, each once: a list of one takes 88 bytes, a set 216.
        self.index.hashtables = [ordered_storage({"type": "dict"}) for _ in range(self.index.b)]
        self.digests: dict[bytes, int] = {}
        self.grams: dict[int, np.ndarray] = {}

    def original_of(
        self, digest: bytes, grams_G: np.ndarray, signature_P: np.ndarray
    ) -> int | None:
        """Return the document that one with these words repeats, or None.

        Args:
            digest: Hash of its words in their order.
            grams_G: Sorted distinct hashes of its word n-grams.
            signature_P: Their MinHash signature.
        """
        if digest in self.digests:
            return self.digests[digest]
        # The index proposes; the exact similarity of the n-gram sets decides.
        for other in sorted(self.index.query(self._sketch(signature_P))):
            if jaccard(grams_G, self.grams[other]) >= self.options.threshold:
                return int(other)
        return None

    def add(self, number: int, digest: bytes, grams_G: np.ndarray, signature_P: np.ndarray) -> None:
        """Remember a document under a number."""
        self.index.insert(number, self._sketch(signature_P), check_duplication=False)
        self.digests[digest] = number
        self.grams[number] = grams_G

    def _sketch(self, signature_P: np.ndarray) -> MinHash:
        empty = _empty(self.options.permutations)
        return MinHash(
            seed=empty.seed,
            hashvalues=signature_P,
            permutations=empty.permutations,
            scheme=empty.scheme,
        )
