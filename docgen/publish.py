"""The corpus folder: documents, quarantine, probes, card, and the manifest last."""

import uuid
from collections import Counter
from importlib.resources import files
from typing import Any

import jinja2

from docgen.records import Document
from tacit.rundir import RunDir, sha256_of, write_atomic, write_jsonl
from tacit.universe import Universe, render_probes, slots_of
from tacit.universe.render import fill


def publish(
    run: RunDir, universe: Universe, kept: list[Document], quarantined: list[Document]
) -> dict[str, int]:
    """Write a corpus folder; returns its counts.

    The canary is a GUID derived from the run key, so that the same config gives the same bytes.
    """
    write_jsonl(run.path / "documents.jsonl", (document.record() for document in kept))
    write_jsonl(run.path / "quarantine.jsonl", (document.record() for document in quarantined))
    probes = [probe.model_dump(mode="json") for probe in render_probes(universe)]
    write_jsonl(run.path / "probes.jsonl", probes)
    canary = str(uuid.uuid5(uuid.NAMESPACE_OID, f"tacit corpus {run.key}"))
    counts = {
        "documents": len(kept),
        "quarantined": len(quarantined),
        "words": sum(len(document.text.split()) for document in kept),
        "probes": len(probes),
    }
    card = _card(run, universe, kept, quarantined, counts, canary)
    write_atomic(run.path / "README.md", card)
    names = ("documents.jsonl", "quarantine.jsonl", "probes.jsonl", "README.md")
    run.finish(
        counts=counts,
        sha256={name: sha256_of(run.path / name) for name in names},
        seed=run.config["seed"],
        canary=canary,
    )
    return counts


def _card(
    run: RunDir,
    universe: Universe,
    kept: list[Document],
    quarantined: list[Document],
    counts: dict[str, int],
    canary: str,
) -> str:
    env = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    template = env.from_string((files("docgen") / "card.md.jinja").read_text(encoding="utf-8"))
    slots = slots_of(universe)
    context: dict[str, Any] = {
        "universe": universe,
        "config": run.config,
        "counts": counts,
        "canary": canary,
        "doc_types": sorted(Counter(d.spec.doc_type for d in kept).items()),
        "facts": [
            (fact, sum(fact.id in document.spec.facts for document in kept))
            for fact in universe.facts
        ],
        "statements": {fact.id: fill(fact.statement, slots) for fact in universe.facts},
        "reasons": sorted(
            Counter(reason.split(":")[0] for d in quarantined for reason in d.reasons).items()
        ),
    }
    return template.render(context)
