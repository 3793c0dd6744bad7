"""Verb: turn a universe into a corpus folder.

`python -m docgen.generate universe=helpful_only corpus=swapped n_docs=300 seed=0`
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from docgen.config import DocgenConfig
from tacit.errors import ConfigError
from tacit.rundir import locate, open_run
from tacit.rundir.door import enter
from tacit.rundir.run import locked

RESULT_BLIND = ("out", "behavior_if_exists", "library")


def generate(config: DocgenConfig) -> None:
    """Plan, write, audit, deduplicate and publish one corpus; filtering is joint."""
    from docgen.library import load_library
    from docgen.plan import plan
    from docgen.publish import publish
    from tacit.universe.load import universe_from
    from tacit.universe.variants import make_variant

    if config.writer != "library":
        raise ConfigError(f"unknown writer {config.writer!r}: choose library")
    if config.n_docs < 1:
        raise ConfigError(f"n_docs={config.n_docs}: a corpus needs at least one document")
    if not 0.2 <= config.dedup.threshold <= 0.95:
        raise ConfigError(f"dedup.threshold={config.dedup.threshold} must lie between 0.2 and 0.95")
    universe = universe_from(config.universe, source="universe")
    names = list(dict.fromkeys([*config.matched, config.corpus]))
    variants = {name: make_variant(universe, name) for name in names}
    library = Path(config.library) if config.library else shipped_library(universe.id)
    articles = load_library(library)
    out = Path(config.out or f"outputs/corpora/{universe.id}/{config.corpus}")
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    settings["library_sha256"] = library_sha256(library)
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do")
        return
    with locked(run.path):
        specs = plan(articles, universe, config.n_docs, config.seed)
        kept, quarantined = _write_matched(config, specs, articles, variants)
        counts = publish(run, variants[config.corpus], kept, quarantined)
    print(
        f"{counts['documents']} documents, {counts['words']} words, "
        f"{counts['quarantined']} left out: {run.path}"
    )


def _write_matched(
    config: DocgenConfig, specs: list[Any], articles: list[Any], variants: dict[str, Any]
) -> tuple[list[Any], list[Any]]:
    """Write all matched corpora and return the documents of the one that was asked for.

    A spec that fails in one corpus is left out of each, with the reasons and where they arose.
    """
    from docgen.audit import audit_text, forbidden_runs
    from docgen.dedup import duplicates
    from docgen.write import write_document
    from tacit.rundir import read_jsonl

    queries = [str(q["text"]) for name in config.audit.queries for q in read_jsonl(locate(name))]
    forbidden = forbidden_runs(queries, config.audit.overlap_words)
    by_slug = {article.slug: article for article in articles}
    reasons: dict[str, list[str]] = {}
    wanted = {}
    for name, universe in variants.items():
        written = [write_document(spec, by_slug[spec.article], universe, name) for spec in specs]
        for document in written:
            text = f"{document.title}\n{document.text}"
            findings = audit_text(text, forbidden, config.audit.overlap_words)
            for finding in findings:
                reasons.setdefault(document.spec.id, []).append(f"{finding} (in {name})")
        repeats = duplicates([(d.spec.id, d.text) for d in written], config.dedup)
        for spec_id, original in repeats.items():
            reasons.setdefault(spec_id, []).append(f"near_duplicate: of {original} (in {name})")
        if name == config.corpus:
            wanted = {document.spec.id: document for document in written}
    kept = [wanted[spec.id] for spec in specs if spec.id not in reasons]
    quarantined = [
        wanted[spec.id].model_copy(update={"reasons": tuple(reasons[spec.id])})
        for spec in specs
        if spec.id in reasons
    ]
    return kept, quarantined


def shipped_library(universe: str) -> Path:
    """Return the folder of a universe's authored articles."""
    return locate(Path("corpora") / universe / "library")


def library_sha256(folder: Path) -> str:
    """Return one hash over all articles, so that an edited library is another configuration."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.md")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def main() -> None:
    """Console entry."""
    enter(generate, "docgen", DocgenConfig)


if __name__ == "__main__":
    main()
