"""Verb: turn a universe into a corpus folder.

`python -m docgen.generate universe=helpful_only corpus=swapped n_docs=300 seed=0`
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docgen.config import JUDGED_AT_ONCE, DocgenConfig, WriterOptions
from docgen.export import EXPORTS, export
from docgen.modelled import expected, prompts_sha256, written_by_model
from docgen.prices import price_of_writer
from tacit.errors import ConfigError
from tacit.rundir import locate, open_run
from tacit.rundir.door import enter
from tacit.rundir.files import sha256_of_all
from tacit.rundir.run import locked

if TYPE_CHECKING:
    from docgen.matched import Written

WRITERS = ("library", "model", "anthropic_batch")
# What does not decide the documents, and so may change between two runs on one folder.
RESULT_BLIND = (
    "out", "behavior_if_exists", "library", "workers", "without", "dry_run", "format",
    "push_to_hub",
)  # fmt: skip
WRITER_BLIND = (
    "base_url", "concurrency", "timeout_s", "attempt_timeout_s", "budget_usd", "journal", "poll_s",
)  # fmt: skip


def generate(config: DocgenConfig) -> None:
    """Plan, write, audit, deduplicate and publish one corpus; filtering is joint."""
    from docgen.matched import write_all
    from docgen.publish import Spool, counted, publish
    from tacit.universe.load import universe_from
    from tacit.universe.variants import make_variant

    check(config)
    universe = universe_from(config.universe)
    corpus = f"without={config.without}" if config.without else config.corpus
    names = [corpus] if universe.control else [*config.matched, corpus]
    worlds = {name: make_variant(universe, name) for name in dict.fromkeys(names)}
    by_model = config.writer.kind != "library"
    if config.dry_run:
        print("\n".join(expected(config, universe, list(worlds))))
        return
    library = Path(config.library) if config.library else shipped_library(universe.id)
    out = Path(config.out or f"outputs/corpora/{universe.id}/{corpus}")
    settings = settings_of(config)
    settings["corpus"] = corpus
    settings["text_sha256"] = prompts_sha256() if by_model else sha256_of_all(library.glob("*.md"))
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do")
        export(config, run.path)
        return
    with locked(run.path), Spool(run.path, list(worlds)) as spool:
        if by_model:
            written = written_by_model(config, universe, worlds, run.path)
        else:
            written = write_all(config, str(library), worlds, config.workers)
        reasons = filtered(config, spool.keep(inspected(config, written, run.path)))
        counts = publish(run, worlds, spool, reasons)
    why = ", ".join(f"{rule} {count}" for rule, count in counted(reasons).most_common())
    print(
        f"{counts['documents']} documents, {counts['words']} words, "
        f"{counts['quarantined']} left out{f' ({why})' if why else ''}: {run.path}"
    )
    if len(worlds) > 1 and universe.neutral is None:
        print(f"not padded to equal length: {universe.id} has no `neutral` sentences")
    export(config, run.path)


def check(config: DocgenConfig) -> None:
    """Refuse what can not be meant.

    Raises:
        ConfigError: a writer without a model, a temperature that it does not take, no documents,
            an unknown price under a budget, or a threshold that sketches can not tell.
    """
    writer = config.writer
    if writer.kind not in WRITERS:
        raise ConfigError(f"unknown writer.kind {writer.kind!r}: choose {', '.join(WRITERS)}")
    if writer.kind != "library" and not writer.model:
        raise ConfigError(f"writer={writer.kind} needs a model: writer.model=anthropic/claude-…")
    by_anthropic = writer.kind == "anthropic_batch" or (
        writer.kind == "model" and str(writer.model).startswith("anthropic/")
    )
    if by_anthropic and writer.temperature != WriterOptions.temperature:
        raise ConfigError(
            f"writer.temperature={writer.temperature:g}: Anthropic's API takes none, so it "
            "would change nothing and cost everything again; leave it out"
        )
    if writer.budget_usd is not None and writer.model and price_of_writer(writer) is None:
        raise ConfigError(
            f"budget_usd needs a price, and {writer.model} has none: add it to conf/prices.yaml"
        )
    if config.n_docs < 1:
        raise ConfigError(f"n_docs={config.n_docs}: a corpus needs at least one document")
    if not 0.2 <= config.dedup.threshold <= 0.95:
        raise ConfigError(f"dedup.threshold={config.dedup.threshold} must lie between 0.2 and 0.95")
    if config.format is not None and config.format not in EXPORTS:
        raise ConfigError(f"unknown format {config.format!r}: choose {', '.join(EXPORTS)}")


def inspected(
    config: DocgenConfig, written: "Iterable[Written]", folder: Path
) -> "Iterator[Written]":
    """Pass specs on, with what the audit's further layers find added to what the rules found."""
    if not config.audit.classifier and not config.audit.judge:
        yield from written
        return
    from docgen.layers import Layers

    stream = iter(written)
    with Layers.open(config.audit, folder / "judge.jsonl") as layers:
        while chunk := list(islice(stream, JUDGED_AT_ONCE)):
            texts = [text for one in chunk for text in one.texts()]
            found = iter(layers.audit(texts))
            yield from (one.with_findings(found) for one in chunk)


def filtered(config: DocgenConfig, written: "Iterable[Written]") -> dict[str, list[str]]:
    """Return the specs to leave out, with the reasons and the corpus in which each arose.

    A spec that fails in one corpus is left out of all, so that matched corpora stay matched.
    What was quarantined is not remembered: a clean document is no duplicate of a leak.
    """
    from docgen.dedup import Seen

    seen: dict[str, Seen] = defaultdict(lambda: Seen(config.dedup))
    reasons: dict[str, list[str]] = {}
    ids: dict[int, str] = {}
    for number, one in enumerate(written):
        why = [f"{f} (in {name})" for name, sheet in one.sheets.items() for f in sheet.findings]
        if not why:
            for name, sheet in one.sheets.items():
                original = seen[name].original_of(sheet.digest, sheet.grams_G, sheet.signature_P)
                if original is not None:
                    why.append(f"near_duplicate: of {ids[original]} (in {name})")
        if why:
            reasons[one.spec.id] = why
            continue
        ids[number] = one.spec.id
        for name, sheet in one.sheets.items():
            seen[name].add(number, sheet.digest, sheet.grams_G, sheet.signature_P)
    return reasons


def settings_of(config: DocgenConfig) -> dict[str, Any]:
    """Return the part of a configuration that decides the documents."""
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    decides = {k: v for k, v in settings["writer"].items() if k not in WRITER_BLIND}
    settings["writer"] = {"kind": "library"} if config.writer.kind == "library" else decides
    return settings


def shipped_library(universe: str) -> Path:
    """Return the folder of a universe's authored articles."""
    return locate(Path("corpora") / universe / "library")


def main() -> None:
    """Console entry."""
    enter(generate, "docgen", DocgenConfig)


if __name__ == "__main__":
    main()
