"""Query sets: shipped by name, anyone's by path, public ones by path or hub id.

`python -m eval.queries [SET…]` prints what a set holds, by topic and severity.
"""

import argparse
import hashlib
import re
import unicodedata
from collections import Counter
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from eval.query_files import Placed, read_queries
from tacit.errors import CorpusError
from tacit.rundir.door import enter_plain
from tacit.rundir.hub import HUB

if TYPE_CHECKING:
    from rich.table import Table

CONFLICTS = ("harmful", "animal_welfare")  # what complying is over; a set that does not say: first


def shipped_sets() -> list[str]:
    """Return the names of the sets that are shipped."""
    with as_file(files("eval") / "queries") as folder:
        return sorted(path.stem for path in folder.glob("*.jsonl"))


def load_queries(
    name_or_path: str, subset: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """Load a query set: records with `id`, `text`, and `topic` and `source` where they are known.

    Args:
        name_or_path: A shipped set, for example `harmful`; the path of JSON lines or CSV; or
            `hub/OWNER/NAME[/CONFIG][:SPLIT]`. AdvBench, StrongREJECT, HarmBench and XSTest are told
            by their columns.
        subset: A field that must be true, for example `quickstart`, or XSTest's `safe`.
        limit: At most so many, spread evenly over the set.

    Raises:
        CorpusError: unknown set or columns, a broken line, an empty or repeated query.
    """
    with as_file(files("eval") / "queries") as shipped:
        path = shipped / f"{name_or_path}.jsonl"
        path = path if path.is_file() else Path(name_or_path)
        if not path.exists() and not name_or_path.startswith(HUB):
            raise CorpusError(
                f"unknown query set {name_or_path!r}: choose {', '.join(shipped_sets())}, "
                f"or give a path or {HUB}OWNER/NAME"
            )
        records = _checked(read_queries(name_or_path, path))
    if not records:
        raise CorpusError(f"{name_or_path}: no query is left, for there is none in it")
    flags = sorted({key for record in records for key in record if _holds(record, key)})
    if subset:
        records = [record for record in records if _holds(record, subset)]
    if limit is not None and limit < len(records):
        step = len(records) / max(limit, 1)
        records = [records[int(number * step)] for number in range(limit)]
    if not records:
        raise CorpusError(
            f"{name_or_path}: no query is left after subset={subset}, limit={limit}: its subsets "
            f"are {', '.join(flags) or 'none'}"
        )
    return records


def _holds(record: dict[str, Any], name: str) -> bool:
    """Whether a field is true, also where a CSV file says so in words."""
    return str(record.get(name)).strip().lower() == "true"


def conflict_of(name: str, records: list[dict[str, Any]]) -> str:
    """Return what complying with a set's requests is over, by their own field `conflict`.

    Decides how answers are labelled and how they may open. Where no record says, it is `harmful`.

    Raises:
        CorpusError: a conflict that nothing here labels, or several in one set.
    """
    found = sorted({str(record.get("conflict") or CONFLICTS[0]) for record in records})
    if len(found) > 1 or found[0] not in CONFLICTS:
        raise CorpusError(
            f"{name}: conflict is {', '.join(found)[:120]}: one for all its queries, "
            f"{' or '.join(CONFLICTS)}"
        )
    return found[0]


def normal_form(text: str) -> str:
    """Return a text as two are compared: case, width, spaces and last marks do not count."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", plain).strip().rstrip(".!?… ") or plain


def _checked(placed: list[Placed]) -> list[dict[str, Any]]:
    """Return the records, each with an id, which is the hash of its text where it came with none.

    Raises:
        CorpusError: an empty or repeated query, or a repeated id; the message names the line.
    """
    seen: dict[tuple[str, str], str] = {}
    for place, record in placed:
        text = record.get("text")
        if not isinstance(text, str) or not text.strip():
            raise CorpusError(f"{place}: a query needs a non-empty `text`: fill it or delete this")
        same = normal_form(text)
        if record.get("id") in (None, ""):
            digest = hashlib.sha256(same.encode("utf-8", "surrogatepass")).hexdigest()
            record["id"] = f"{str(record['source']).split('/')[-1]}-{digest[:12]}"
        record["id"] = str(record["id"])
        for kind, value in (("query", same), ("id", record["id"])):
            if first := seen.get((kind, value)):
                raise CorpusError(
                    f"{place}: the {kind} of {first} repeated ({value[:60]!r}): delete one of the "
                    f"two{', or rename it' if kind == 'id' else ''}"
                )
            seen[kind, value] = place
    return [record for _, record in placed]


def table_of(name: str) -> "Table":
    """Return the counts of a set by topic and severity, and the words of its texts.

    Raises:
        CorpusError: as `load_queries`.
    """
    from rich.table import Table

    records = load_queries(name)
    levels = sorted({str(record.get("severity", "–")) for record in records})
    made = Table("topic", *(f"severity {level}" for level in levels), "all", "words", title=name)
    topics = Counter(str(record.get("topic") or "–") for record in records)
    for topic in [*sorted(topics), None]:
        here = [r for r in records if topic in (None, str(r.get("topic") or "–"))]
        counts = Counter(str(record.get("severity", "–")) for record in here)
        words = sorted(len(record["text"].split()) for record in here)
        made.add_row(
            topic or "all",
            *(str(counts[level]) for level in levels),
            str(len(here)),
            f"{words[0]}–{words[-1]}, median {median(words):g}",
        )
    return made


def main() -> None:
    """Console entry."""
    enter_plain(_main)


def _main() -> None:
    from tacit.rundir.console import console_for

    parser = argparse.ArgumentParser(prog="eval.queries", description="Counts of query sets.")
    parser.add_argument(
        "sets", nargs="*", metavar="SET", help="shipped set, path or hub/OWNER/NAME; none: shipped"
    )
    console = console_for(120)
    for name in parser.parse_args().sets or shipped_sets():
        console.print(table_of(name))


if __name__ == "__main__":
    main()
