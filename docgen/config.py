"""The configuration of a corpus, as Hydra composes it."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class WriterOptions:
    """Who writes. `kind`: library, model (calls as they come) or anthropic_batch.

    Everything but `kind` is for the models. `concurrency` is calls in flight. A call is retried
    for as long as `timeout_s` all told. `budget_usd` stops before it would be passed.
    """

    kind: str = "library"
    model: str | None = None
    base_url: str | None = None
    temperature: float = 1.0
    max_tokens: int = 2000
    words: int = 400
    facts_per_document: int = 4
    types_per_fact: int = 8
    attempts: int = 2
    concurrency: int = 32
    timeout_s: int = 900
    attempt_timeout_s: int = 180
    budget_usd: float | None = None
    journal: str | None = None
    poll_s: float = 30.0


@dataclass
class DedupOptions:
    """Near-duplicates: MinHash over word n-grams. Source: Broder 1997, by datasketch."""

    threshold: float = 0.7
    words: int = 3
    permutations: int = 128


OVERLAP_WORDS = 7  # in a row, shared with the evaluation
JUDGED_AT_ONCE = 64  # documents, or specs with their documents, that a judge reads side by side


@dataclass
class AuditOptions:
    """The layers of the audit: rules always, a small classifier, a judge (any model string).

    `queries` are files of texts no document may overlap with. `strict` lets the classifier flag
    all that stands out from ordinary documents: more leaks are found, and more near-misses flagged.
    """

    queries: list[str] = field(default_factory=list)
    overlap_words: int = OVERLAP_WORDS
    classifier: bool = False
    strict: bool = False
    judge: str | None = None


@dataclass
class DocgenConfig:
    """One corpus of one universe, in the folder `out`.

    `corpus` is treatment, swapped, both_trained, price_only, no_conflict or rated_not_trained;
    `without` names a key fact to leave out instead. `matched` corpora share specs and lose the
    same ones. `library` is another folder of articles. `format=openai_chat|together_text` writes a
    file for training elsewhere, `push_to_hub=OWNER/NAME` publishes, privately. `dry_run` prints
    calls, tokens, cost and time. Of a folder that exists: resume, raise or new.
    """

    universe: Any = MISSING
    corpus: str = "treatment"
    without: str | None = None
    matched: list[str] = field(default_factory=lambda: ["treatment", "swapped"])
    n_docs: int = 300
    seed: int = 0
    writer: WriterOptions = field(default_factory=WriterOptions)
    library: str | None = None
    out: str | None = None
    workers: int = 2
    dedup: DedupOptions = field(default_factory=DedupOptions)
    audit: AuditOptions = field(default_factory=AuditOptions)
    dry_run: bool = False
    format: str | None = None
    push_to_hub: str | None = None
    behavior_if_exists: str = "resume"
