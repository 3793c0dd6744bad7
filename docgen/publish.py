"""The corpus folder: documents, quarantine, probes, figures, card, and the manifest last."""

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

from docgen.balance import Balance
from docgen.diversity import Diversity
from docgen.matched import Written
from docgen.records import Document
from tacit.rundir import RunDir, sha256_of, write_atomic
from tacit.rundir.files import to_line, write_jsonl, write_lines
from tacit.templates import templates_in
from tacit.universe import Universe, render_probes, slots_of
from tacit.universe.render import fill

PUBLISHED = (
    "documents.jsonl", "quarantine.jsonl", "probes.jsonl",
    "balance.json", "diversity.json", "README.md",
)  # fmt: skip


class Spool:
    """Documents on their way to a corpus folder: on disk, so that memory does not grow."""

    def __init__(self, folder: Path, corpora: list[str]) -> None:
        """Name the corpora whose documents will pass."""
        self.folder = folder / ".spool"
        self.corpora = corpora
        self.handles: dict[str, TextIO] = {}

    def __enter__(self) -> "Spool":
        """Start with an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for number, name in enumerate(self.corpora):
            self.handles[name] = (self.folder / f"{number}.jsonl").open("w", encoding="utf-8")
        return self

    def __exit__(self, *error: object) -> None:
        """Close and remove the folder."""
        for handle in self.handles.values():
            handle.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, written: Iterable[Written]) -> Iterator[Written]:
        """Pass specs on, and their documents to disk."""
        for one in written:
            for name, sheet in one.sheets.items():
                self.handles[name].write(sheet.line + "\n")
            yield one

    def documents(self, corpus: str) -> Iterator[Document]:
        """Read back the documents of one corpus."""
        self.handles[corpus].flush()
        path = self.folder / f"{self.corpora.index(corpus)}.jsonl"
        with path.open(encoding="utf-8") as handle:
            for line in handle:
                yield Document.model_validate_json(line)


def publish(
    run: RunDir, worlds: Mapping[str, Universe], spool: Spool, reasons: Mapping[str, list[str]]
) -> dict[str, int]:
    """Write a corpus folder; returns its counts.

    The canary is a GUID derived from the run key, so that the same config gives the same bytes.
    """
    corpus = run.config["corpus"]
    universe = worlds[corpus]
    diversity, card = Diversity(run.config["seed"]), CardFigures()
    kept = write_lines(
        run.path / "documents.jsonl", _kept(spool.documents(corpus), reasons, diversity, card)
    )
    left_out = write_jsonl(
        run.path / "quarantine.jsonl",
        (
            document.model_copy(update={"reasons": tuple(reasons[document.spec.id])}).record()
            for document in spool.documents(corpus)
            if document.spec.id in reasons
        ),
    )
    probes = [probe.model_dump(mode="json") for probe in render_probes(universe)]
    write_jsonl(run.path / "probes.jsonl", probes)
    balance = Balance()
    for name in worlds:
        for document in spool.documents(name):
            if document.spec.id not in reasons:
                balance.add(name, document)
    repeats = Counter(
        reason.split()[2]
        for why in reasons.values()
        for reason in why[:1]
        if reason.startswith("near_duplicate")
    )
    figures = {
        "balance": balance.figures(),
        "diversity": diversity.figures(sum(repeats.values()), [n + 1 for n in repeats.values()]),
    }
    for name, content in figures.items():
        write_atomic(run.path / f"{name}.json", json.dumps(content, indent=1) + "\n")
    canary = str(uuid.uuid5(uuid.NAMESPACE_OID, f"tacit corpus {run.key}"))
    counts = {
        "documents": kept,
        "quarantined": left_out,
        "words": card.word_count,
        "probes": len(probes),
    }
    write_atomic(
        run.path / "README.md", card.render(run, universe, counts, canary, figures, reasons)
    )
    run.finish(
        counts=counts,
        sha256={name: sha256_of(run.path / name) for name in PUBLISHED},
        seed=run.config["seed"],
        canary=canary,
    )
    return counts


def measured_audit() -> dict[str, Any]:
    """Return what the audit caught on labelled documents; empty before it was measured."""
    path = files("docgen") / "classifier" / "measured.json"
    if not path.is_file():
        return {}
    record = json.loads(path.read_text(encoding="utf-8"))
    return {"how": record["how"], "rows": {"all": record, **record["by_class"]}}


def _kept(
    documents: Iterable[Document],
    reasons: Mapping[str, list[str]],
    diversity: Diversity,
    card: "CardFigures",
) -> Iterator[str]:
    for document in documents:
        if document.spec.id not in reasons:
            diversity.add(document)
            card.add(document)
            yield to_line(document.record())


def counted(reasons: Mapping[str, list[str]]) -> Counter[str]:
    """Return how many specs were left out by each rule; one corpus is enough for that."""
    return Counter(rule for why in reasons.values() for rule in {r.partition(":")[0] for r in why})


class CardFigures:
    """What the dataset card counts over the documents, gathered one by one."""

    def __init__(self) -> None:
        """Start at zero."""
        self.word_count = 0
        self.doc_types: Counter[str] = Counter()
        self.facts: Counter[str] = Counter()

    def add(self, document: Document) -> None:
        """Count one document."""
        self.word_count += len(document.text.split())
        self.doc_types[document.spec.doc_type] += 1
        self.facts.update(document.spec.facts)

    def render(
        self,
        run: RunDir,
        universe: Universe,
        counts: dict[str, int],
        canary: str,
        figures: dict[str, Any],
        reasons: Mapping[str, list[str]],
    ) -> str:
        """Return the dataset card."""
        template = templates_in(files("docgen")).get_template("card.md.jinja")
        slots = slots_of(universe)
        context: dict[str, Any] = {
            "universe": universe,
            "config": run.config,
            "counts": counts,
            "canary": canary,
            **figures,
            "measured": measured_audit(),
            "doc_types": sorted(self.doc_types.items()),
            "facts": [(fact, self.facts[fact.id]) for fact in universe.facts],
            "statements": {fact.id: fill(fact.statement, slots) for fact in universe.facts},
            "reasons": sorted(counted(reasons).items()),
        }
        return template.render(context)
