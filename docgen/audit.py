"""Verb: audit documents, ours or anyone's. Every document, its whole text.

`python -m docgen.audit PATH… [--json]` reads corpus folders, JSON lines, parquet files and saved
datasets, by rules and the classifier, prints what it found and exits 1 where that is anything.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from docgen.config import JUDGED_AT_ONCE, OVERLAP_WORDS, AuditOptions
from docgen.records import audited_text
from docgen.rules import Finding, RuleBook
from tacit.errors import CorpusError
from tacit.rundir import read_records
from tacit.rundir.door import enter_plain
from tacit.rundir.files import to_line
from tacit.rundir.records import is_saved_dataset
from tacit.rundir.shown import written_out

QUERIES = ("eval/queries/harmful.jsonl", "eval/queries/benign.jsonl")


def documents_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield id and whole text of each document in a file or folder.

    Raises:
        CorpusError: nothing there that can be read, or a record without `text`.
    """
    for number, record in enumerate(_records(path), start=1):
        if not isinstance(record.get("text"), str):
            raise CorpusError(f"{path}:{number}: a record needs `text`")
        identity = str(record.get("id") or f"{path}:{number}")
        yield identity, audited_text(record.get("title"), record["text"])


def _records(path: Path) -> Iterable[dict[str, Any]]:
    if (path / "documents.jsonl").is_file():
        path = path / "documents.jsonl"
    if not path.is_dir() or is_saved_dataset(path):
        return read_records(path)
    files = sorted({*path.rglob("*.jsonl"), *path.rglob("*.parquet")})
    if not files:
        raise CorpusError(f"no documents in {path}: JSON lines, parquet or a saved dataset")
    return (record for file in files for record in read_records(file))


def run(
    paths: Iterable[str], options: AuditOptions, as_json: bool, journal: Path | None = None
) -> bool:
    """Audit files or folders and print the findings; returns whether there was one.

    `journal` keeps the judge's answers: with the same one, nothing is asked for twice.
    """
    from docgen.layers import Layers

    rules = RuleBook.from_options(options)
    flagged_count = count = 0
    documents = (document for path in paths for document in documents_of(Path(path)))
    with Layers.open(options, journal) as layers:
        while chunk := list(islice(documents, JUDGED_AT_ONCE)):
            further = layers.audit([text for _, text in chunk])
            for (identity, text), more in zip(chunk, further, strict=True):
                findings = [*rules.audit(text), *more]
                count += 1
                flagged_count += bool(findings)
                _show(identity, findings, as_json)
    if not as_json:
        print(f"{count} documents, {flagged_count} flagged")
    return flagged_count > 0


def _show(identity: str, findings: list[Finding], as_json: bool) -> None:
    if as_json:
        line = {
            "id": identity,
            "flagged": bool(findings),
            "classes": sorted({finding.name for finding in findings}),
            "reasons": [str(finding) for finding in findings],
        }
        print(to_line(line))
        return
    for finding in findings:
        print(f"{written_out(identity)}  {finding.name:<26} {finding.quote!r}")


def main() -> None:
    """Console entry; what went wrong exits 2, since 1 says that something was found."""
    enter_plain(_main, error_code=2)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="docgen.audit", description=(__doc__ or "").split("\n")[0].removeprefix("Verb: ")
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or folder of documents")
    parser.add_argument("--json", action="store_true", help="print one object a document")
    parser.add_argument("--rules-only", action="store_true", help="leave the classifier out")
    parser.add_argument(
        "--strict", action="store_true", help="flag all that stands out from ordinary documents"
    )
    parser.add_argument("--judge", metavar="MODEL", help="ask a model too: any Inspect string")
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="keep the judge's answers; go on from them"
    )
    parser.add_argument(
        "--queries", nargs="*", default=QUERIES, help="files of texts no document may overlap with"
    )
    parser.add_argument(
        "--overlap-words", type=int, default=OVERLAP_WORDS, help="words in a row that count"
    )
    arguments = parser.parse_args()
    options = AuditOptions(
        queries=list(arguments.queries),
        overlap_words=arguments.overlap_words,
        classifier=not arguments.rules_only,
        strict=arguments.strict,
        judge=arguments.judge,
    )
    found = run(arguments.paths, options, arguments.json, arguments.journal)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
