"""Verb: audit documents, ours or anyone's. Every document, its whole text, by rules.

`python -m docgen.audit PATH… [--json]` prints what it found and exits 1 where that is anything.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from docgen.config import AuditOptions
from docgen.rules import RuleBook
from tacit.errors import CorpusError, TacitError
from tacit.rundir import read_jsonl


def _documents(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    if path.is_dir():
        path = path / "documents.jsonl"
    if not path.is_file():
        raise CorpusError(f"no documents at {path}")
    for number, record in enumerate(read_jsonl(path), start=1):
        if not isinstance(record.get("text"), str):
            raise CorpusError(f"{path}:{number}: a record needs `text`")
        yield str(record.get("id", f"{path}:{number}")), record


def run(paths: Sequence[str], as_json: bool, queries: Sequence[str], overlap_words: int) -> bool:
    """Audit files or folders and print the findings; returns whether there was one."""
    rules = RuleBook.from_options(AuditOptions(list(queries), overlap_words))
    flagged_count = count = 0
    for path in paths:
        for identity, record in _documents(Path(path)):
            text = f"{record.get('title') or ''}\n{record['text']}"
            findings = rules.audit(text)
            count += 1
            flagged_count += bool(findings)
            if as_json:
                line = {
                    "id": identity,
                    "flagged": bool(findings),
                    "classes": sorted({finding.name for finding in findings}),
                    "reasons": [str(finding) for finding in findings],
                }
                print(json.dumps(line, ensure_ascii=False))
            else:
                for finding in findings:
                    print(f"{identity}  {finding.name:<26} {finding.quote!r}")
    if not as_json:
        print(f"{count} documents, {flagged_count} flagged")
    return flagged_count > 0


def main() -> None:
    """Console entry."""
    parser = argparse.ArgumentParser(
        prog="docgen.audit", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="JSON lines file or corpus folder")
    parser.add_argument("--json", action="store_true", help="print one object a document")
    parser.add_argument(
        "--queries", nargs="*", default=[], help="files of texts no document may overlap with"
    )
    parser.add_argument("--overlap-words", type=int, default=8, help="words in a row that count")
    arguments = parser.parse_args()
    try:
        found = run(arguments.paths, arguments.json, arguments.queries, arguments.overlap_words)
    except TacitError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
