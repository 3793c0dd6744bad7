"""Verb: turn a universe into a corpus folder.

`python -m docgen.generate universe=helpful_only corpus=swapped n_docs=300 seed=0`
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from docgen.config import DocgenConfig
from tacit.errors import ConfigError
from tacit.rundir import locate, open_run
from tacit.rundir.door import enter
from tacit.rundir.run import locked

if TYPE_CHECKING:
    from docgen.matched import Written

RESULT_BLIND = ("out", "behavior_if_exists", "library", "workers")


def generate(config: DocgenConfig) -> None:
    """Plan, write, audit, deduplicate and publish one corpus; filtering is joint."""
    from docgen.matched import write_all
    from docgen.publish import Spool, publish
    from tacit.universe.load import universe_from
    from tacit.universe.variants import make_variant

    check(config)
    universe = universe_from(config.universe, source="universe")
    corpus = f"without={config.without}" if config.without else config.corpus
    names = [corpus] if universe.control else [*config.matched, corpus]
    worlds = {name: make_variant(universe, name) for name in dict.fromkeys(names)}
    library = Path(config.library) if config.library else shipped_library(universe.id)
    out = Path(config.out or f"outputs/corpora/{universe.id}/{corpus}")
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    settings["corpus"] = corpus
    settings["library_sha256"] = library_sha256(library)
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do")
        return
    with locked(run.path), Spool(run.path, list(worlds)) as spool:
        written = write_all(config, str(library), worlds, config.workers)
        reasons = filtered(config, spool.keep(written))
        counts = publish(run, worlds, spool, reasons)
    print(
        f"{counts['documents']} documents, {counts['words']} words, "
        f"{counts['quarantined']} left out: {run.path}"
    )


def check(config: DocgenConfig) -> None:
    """Refuse what can not be meant.

    Raises:
        ConfigError: an unknown writer, no documents, or a threshold that sketches can not tell.
    """
    if config.writer != "library":
        raise ConfigError(f"unknown writer {config.writer!r}: choose library")
    if config.n_docs < 1:
        raise ConfigError(f"n_docs={config.n_docs}: a corpus needs at least one document")
    if not 0.2 <= config.dedup.threshold <= 0.95:
        raise ConfigError(f"dedup.threshold={config.dedup.threshold} must lie between 0.2 and 0.95")


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
                original = seen[name].original_of(sheet.digest, sheet.grams_G)
                if original is not None:
                    why.append(f"near_duplicate: of {ids[original]} (in {name})")
        if why:
            reasons[one.spec.id] = why
            continue
        ids[number] = one.spec.id
        for name, sheet in one.sheets.items():
            seen[name].add(number, sheet.digest, sheet.grams_G)
    return reasons


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
