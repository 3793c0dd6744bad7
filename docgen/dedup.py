"""Exact and near duplicates, by hash and by MinHash LSH (datasketch)."""

import hashlib
from collections.abc import Sequence

from datasketch import MinHash, MinHashLSH

from docgen.audit import word_ngrams, words_of
from docgen.config import DedupOptions


def duplicates(texts: Sequence[tuple[str, str]], options: DedupOptions) -> dict[str, str]:
    """Return which texts repeat an earlier one.

    Args:
        texts: Pairs of id and text; the first of a group of duplicates stays.
        options: Threshold on the Jaccard similarity of word n-grams.

    Returns:
        From the id of a duplicate to the id it repeats.
    """
    index = MinHashLSH(threshold=options.threshold, num_perm=options.permutations)
    kept_grams: dict[str, set[tuple[str, ...]]] = {}
    seen: dict[str, str] = {}
    repeated: dict[str, str] = {}
    for identity, text in texts:
        digest = hashlib.sha256(" ".join(words_of(text)).encode()).hexdigest()
        if digest in seen:
            repeated[identity] = seen[digest]
            continue
        grams = word_ngrams(text, options.words)
        sketch = MinHash(num_perm=options.permutations, seed=1)
        sketch.update_batch([" ".join(gram).encode() for gram in sorted(grams)])
        # The index proposes; the exact similarity decides.
        twins = [
            other
            for other in sorted(index.query(sketch))
            if _jaccard(grams, kept_grams[other]) >= options.threshold
        ]
        if twins:
            repeated[identity] = twins[0]
            continue
        seen[digest] = identity
        kept_grams[identity] = grams
        index.insert(identity, sketch)
    return repeated


def _jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    union = len(one | other)
    return len(one & other) / union if union else 1.0
