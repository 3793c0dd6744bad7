"""Verb: what the keyless audit catches, on labelled documents.

`python -m docgen.measure tests/docgen/leaks/held_out_3.jsonl` prints a table. With `--write` it
becomes `docgen/classifier/measured.json`, which every dataset card shows.
"""

import argparse
import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from docgen.audit import QUERIES
from docgen.config import AuditOptions
from docgen.rules import CLASSES, RuleBook
from tacit.errors import ConfigError, CorpusError
from tacit.proportions import wilson
from tacit.rundir import write_atomic
from tacit.rundir.door import enter_plain
from tacit.rundir.records import numbered_records

TARGET = Path(str(files("docgen") / "classifier")) / "measured.json"


def rate(hits: int, count: int) -> dict[str, Any]:
    """Return a rate with its 95 % score interval; of nothing, that nothing is known."""
    share, low, high = wilson(hits, count) if count else (0.0, 0.0, 1.0)
    return {
        "hits": hits,
        "count": count,
        "rate": round(share, 3),
        "low": round(low, 3),
        "high": round(high, 3),
    }


def read_labelled(path: Path) -> list[dict[str, Any]]:
    """Read labelled documents; one without an `id` gets its place as that.

    Raises:
        CorpusError: nothing there that can be read, or a record without its labels.
    """
    records = []
    for number, record in numbered_records(path):
        if not (
            isinstance(record.get("text"), str)
            and isinstance(record.get("leak"), bool)
            and record.get("class") in CLASSES
        ):
            raise CorpusError(
                f"{path}:{number}: a labelled document needs `text`, `leak` (true or false) and "
                f"`class`, the leak it is or comes close to: {', '.join(CLASSES)}"
            )
        records.append({"id": f"{path.name}:{number}", **record})
    return records


def measure(
    records: list[dict[str, Any]], with_classifier: bool, strict: bool = False
) -> dict[str, Any]:
    """Audit labelled documents; returns recall and false alarms, overall, by class and difficulty.

    The ids of what was flagged come with them.

    Args:
        records: Each with `text`, `leak`, `class` and `difficulty`; a clean one carries the class
            that it comes close to.
        with_classifier: Whether the classifier looks at them after the rules.
        strict: Whether it flags from the lower score on.
    """
    return summary(records, flagged_in(records, with_classifier, strict))


def flagged_in(
    records: list[dict[str, Any]], with_classifier: bool, strict: bool = False
) -> list[bool]:
    """Audit labelled documents; returns which of them were flagged."""
    from docgen.layers import Layers

    options = AuditOptions(queries=list(QUERIES), classifier=with_classifier, strict=strict)
    rules = RuleBook.from_options(options)
    with Layers.open(options) as layers:
        further = layers.audit([record["text"] for record in records])
    return [
        bool(rules.audit(record["text"]) or more)
        for record, more in zip(records, further, strict=True)
    ]


def summary(records: list[dict[str, Any]], flagged: list[bool]) -> dict[str, Any]:
    """Return recall and false alarms, overall, by class and by difficulty."""
    pairs = list(zip(records, flagged, strict=True))

    def share(leak: bool, key: str | None = None, value: str | None = None) -> dict[str, Any]:
        chosen = [f for r, f in pairs if r["leak"] == leak and (key is None or r.get(key) == value)]
        return rate(sum(chosen), len(chosen))

    return {
        "flagged": [record["id"] for record, is_flagged in pairs if is_flagged],
        "recall": share(True),
        "false_alarms": share(False),
        "by_difficulty": {
            value: {"recall": share(True, "difficulty", value),
                    "false_alarms": share(False, "difficulty", value)}
            for value in ("obvious", "moderate", "subtle")
        },
        "by_class": {
            value: {"recall": share(True, "class", value),
                    "false_alarms": share(False, "class", value)}
            for value in CLASSES
        },
    }  # fmt: skip


def lines_of(measured: dict[str, Any]) -> Iterable[str]:
    """Return the table that is printed."""

    def text(one: dict[str, Any]) -> str:
        interval = f"[{one['low']:.2f}, {one['high']:.2f}]"
        return f"{one['hits']:>3}/{one['count']:<3} {one['rate']:.2f} {interval}"

    yield f"{'':<28}{'leaks found':<28}clean documents flagged"
    rows = {"all": measured, **measured["by_difficulty"], **measured["by_class"]}
    for name, row in rows.items():
        yield f"{name:<28}{text(row['recall']):<28}{text(row['false_alarms'])}"


def main() -> None:
    """Console entry."""
    enter_plain(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="docgen.measure", description=(__doc__ or "").split("\n")[0].removeprefix("Verb: ")
    )
    parser.add_argument("documents", type=Path, help="labelled documents")
    parser.add_argument("--rules-only", action="store_true", help="leave the classifier out")
    parser.add_argument("--strict", action="store_true", help="flag from the lower score on")
    parser.add_argument(
        "--write",
        action="store_true",
        help="show these figures in every dataset card: for documents no layer was made with",
    )
    options = parser.parse_args()
    if options.write and (options.strict or options.rules_only):
        raise ConfigError("--write is for what the audit does by default: leave out the other flag")
    records = read_labelled(options.documents)
    measured = measure(records, not options.rules_only, options.strict)
    print("\n".join(lines_of(measured)))
    if options.write:
        measured |= {"how": "no layer was made with them", "file": options.documents.name}
        write_atomic(TARGET, json.dumps(measured, indent=1) + "\n")
        print(f"written: {TARGET}")


if __name__ == "__main__":
    main()
