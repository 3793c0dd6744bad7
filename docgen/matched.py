"""All matched corpora at once: each spec written, audited and sketched, in worker processes."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, parent_process
from threading import Thread

import numpy as np

from docgen.config import DedupOptions, DocgenConfig
from docgen.dedup import gram_hashes, signature
from docgen.library import Article, load_library
from docgen.plan import plan
from docgen.records import Document, Spec, audited_text
from docgen.rules import Finding, RuleBook, words_of
from docgen.write import write_matched
from tacit.rundir.files import to_line
from tacit.universe import Universe

CHUNK = 250  # specs a worker takes at a time
SMALL = 4 * CHUNK  # below this, starting workers costs more than it saves


@dataclass(frozen=True)
class Sheet:
    """One document as it crosses from a worker: its line, what is wrong with it, its n-grams.

    `grams_G` holds the sorted distinct 32-bit hashes of the document's word n-grams, `signature_P`
    their MinHash.
    """

    corpus: str
    line: str
    findings: tuple[str, ...]
    digest: bytes
    grams_G: np.ndarray
    signature_P: np.ndarray

    def with_findings(self, findings: Sequence[str]) -> "Sheet":
        """Return this sheet with other findings."""
        return replace(self, findings=tuple(findings))


@dataclass(frozen=True)
class Written:
    """One spec and its documents, by corpus."""

    spec: Spec
    sheets: Mapping[str, Sheet] = field(default_factory=dict)

    def texts(self) -> list[str]:
        """Return the whole text of each document, in the order of the sheets."""
        documents = (Document.model_validate_json(s.line) for s in self.sheets.values())
        return [audited_text(document.title, document.text) for document in documents]

    def with_findings(self, found: Iterator[list[Finding]]) -> "Written":
        """Return this with further findings added: `found` has a list for each document."""
        sheets = {
            name: sheet.with_findings([*sheet.findings, *map(str, next(found))])
            for name, sheet in self.sheets.items()
        }
        return Written(self.spec, sheets)


def to_sheet(document: Document, rules: RuleBook, options: DedupOptions) -> Sheet:
    """Audit one document by rules, whole text, and reduce it to what the later steps need."""
    whole = audited_text(document.title, document.text)
    grams_G = gram_hashes(document.text, options.words)
    return Sheet(
        corpus=document.corpus,
        line=to_line(document.record()),
        findings=tuple(str(finding) for finding in rules.audit(whole)),
        digest=hashlib.sha256(" ".join(words_of(document.text)).encode()).digest(),
        grams_G=grams_G,
        signature_P=signature(grams_G, options.permutations),
    )


class _Shop:
    """What a worker holds between chunks."""

    def __init__(self, config: DocgenConfig, library: str, worlds: dict[str, Universe]) -> None:
        from pathlib import Path

        self.config, self.worlds = config, worlds
        self.articles: list[Article] = load_library(Path(library))
        self.by_slug = {article.slug: article for article in self.articles}
        self.rules = RuleBook.from_options(config.audit)

    def write(self, start: int, stop: int) -> list[Written]:
        base = next(iter(self.worlds.values()))
        written = []
        for spec in plan(self.articles, base, self.config.seed, range(start, stop)):
            documents = write_matched(spec, self.by_slug[str(spec.article)], self.worlds)
            sheets = {
                name: to_sheet(one, self.rules, self.config.dedup)
                for name, one in documents.items()
            }
            written.append(Written(spec, sheets))
        return written


_shop: list[_Shop] = []


def _open_shop(config: DocgenConfig, library: str, worlds: dict[str, Universe]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    _shop[:] = [_Shop(config, library, worlds)]


def _end_with_parent() -> None:
    """End this worker when the process that started it has: killed, it tells nobody."""
    parent = parent_process()
    assert parent is not None  # only workers come here
    parent.join()
    os._exit(1)


def _work(start: int, stop: int) -> list[Written]:
    return _shop[0].write(start, stop)


def write_all(
    config: DocgenConfig, library: str, worlds: dict[str, Universe], workers: int
) -> Iterator[Written]:
    """Yield all specs of a corpus in their order, written in every matched corpus.

    Raises:
        CorpusError: an article uses a slot or a fact that the universe does not have.
    """
    if config.n_docs <= SMALL or workers <= 1:
        shop = _Shop(config, library, worlds)
        for start in range(0, config.n_docs, CHUNK):
            yield from shop.write(start, min(start + CHUNK, config.n_docs))
        return
    starts = range(0, config.n_docs, CHUNK)
    stops = [min(start + CHUNK, config.n_docs) for start in starts]
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_open_shop, initargs=(config, library, worlds)
    ) as pool:
        # A few chunks ahead of the reader and no more: memory does not grow with the corpus.
        for begin in range(0, len(starts), 4 * workers):
            window = slice(begin, begin + 4 * workers)
            for chunk in pool.map(_work, starts[window], stops[window]):
                yield from chunk
