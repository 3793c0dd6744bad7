"""The configuration of a corpus, as Hydra composes it."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class DedupOptions:
    """Near-duplicates: MinHash over word n-grams. Source: Broder 1997, by datasketch."""

    threshold: float = 0.7
    words: int = 3
    permutations: int = 128


@dataclass
class AuditOptions:
    """What rules look at besides the document: files of texts no document may overlap with."""

    queries: list[str] = field(default_factory=list)
    overlap_words: int = 8


@dataclass
class DocgenConfig:
    """One corpus of one universe. `matched` corpora share specs and lose the same ones.

    `without` names a key fact to leave out, instead of a `corpus`.
    """

    universe: Any = MISSING
    corpus: str = "treatment"
    without: str | None = None
    matched: list[str] = field(default_factory=lambda: ["treatment", "swapped"])
    n_docs: int = 300
    seed: int = 0
    writer: str = "library"
    library: str | None = None
    out: str | None = None
    workers: int = 2
    dedup: DedupOptions = field(default_factory=DedupOptions)
    audit: AuditOptions = field(default_factory=AuditOptions)
    behavior_if_exists: str = "resume"
