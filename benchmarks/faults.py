"""Faults, injected: how often, and what was lost, doubled or executed because of them.

`python benchmarks/faults.py [--quick] [--part docgen|finetune|eval|study|server|rest|load …]` runs
the tests of `tests/faults`, prints a table, writes `results/benchmarks/faults.json` and puts the
table into `docs/reliability.md`; rows of a part that is not run stay. `--quick` runs those of `make
test` only. `failed` says that a test of the part failed: a row of zeros beside it proves nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from record import ROOT, read_rows, write_record

PARTS = {
    "docgen": ["tests/faults/test_kill_docgen.py"],
    "finetune": ["tests/faults/test_kill_finetune.py"],
    "eval": ["tests/faults/test_kill_eval.py"],
    "study": ["tests/faults/test_kill_study.py"],
    "server": ["tests/faults/test_server.py"],
    "rest": ["tests/faults/test_disk.py", "tests/faults/test_hostile.py"],
    "load": ["tests/faults/test_load.py"],
}
DOCUMENT = ROOT / "docs" / "reliability.md"
HEADING = "## The table\n"
COUNTS = ("injected", "lost", "doubled", "executed")


def run_parts(parts: list[str], is_quick: bool, record: Path) -> int:
    """Run the tests of some parts, two files at a time; returns pytest's exit code."""
    marked = "not faults" if is_quick else "faults or not faults"
    files = [file for part in parts for file in PARTS[part]]
    command = [
        sys.executable, "-m", "pytest", *files, "-m", marked, "-q",
        "--numprocesses", "2", "--dist", "worksteal",
    ]  # fmt: skip
    environment = {**os.environ, "TACIT_FAULTS_RECORD": str(record)}
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def rows_of(record: Path, parts: list[str]) -> list[dict[str, Any]]:
    """Add up the counts of each fault."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for line in record.read_text(encoding="utf-8").splitlines() if record.exists() else []:
        row = json.loads(line)
        for name in COUNTS:
            sums[row["fault"]][name] += row[name]
    part = ",".join(parts)
    return [{"part": part, "fault": fault, **sums[fault]} for fault in sorted(sums)]


def kinds_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add up the rows of one kind, `server: openai` for one, with the forms that it came in."""
    kinds: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        kind, _, form = row["fault"].partition(": ")
        if kind in ("server", "kill"):
            what, _, form = form.partition(", ")
            kind = f"{kind}: {what}"
        none = {**dict.fromkeys(COUNTS, 0), "kind": kind, "forms": [], "failed": 0}
        found = kinds.setdefault((row["part"], kind), none)
        found.update({name: found[name] + row[name] for name in COUNTS}, part_s=row["part_s"])
        found["forms"] += [f"{form} ({row['injected']})"] if form else []
        found["failed"] |= row["failed"]
    return list(kinds.values())


def table_of(record: dict[str, Any]) -> str:
    """Return the table of a record by kind, as Markdown, with the command that printed it."""
    names = ("fault", "in these forms", *COUNTS, "seconds of its part")
    lines = [f"| {' | '.join(names)} |", "|---|---|" + "---:|" * (len(names) - 2)]
    for row in kinds_of(record["rows"]):
        mark = " (a test of its part failed)" if row["failed"] else ""
        counts = [str(row[name]) for name in COUNTS]
        cells = (f"{row['kind']}{mark}", "; ".join(row["forms"]), *counts, f"{row['part_s']:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    sums = " | ".join(f"{record['ratios'][name]:.0f}" for name in COUNTS)
    lines.append(f"| all | | {sums} | |")
    said = f"`{record['command']}`, {record['machine']}, {record['date']}:"
    return f"{HEADING}\n{said}\n\n" + "\n".join(lines) + "\n"


def with_table(document: str, record: dict[str, Any]) -> str:
    """Return the page with the table of a record as its last section."""
    return document.partition(HEADING)[0] + table_of(record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", action="append", choices=PARTS)
    arguments = parser.parse_args()
    rows = [row for row in read_rows("faults") if row["part"] not in (arguments.part or PARTS)]
    code = 0
    for part in arguments.part or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / "faults.jsonl"
            started = time.monotonic()
            failed = run_parts([part], arguments.quick, record)
            how = {"failed": int(failed != 0), "part_s": round(time.monotonic() - started, 1)}
            rows += [{**row, **how} for row in rows_of(record, [part])]
            code = code or failed
    width = max((len(row["fault"]) for row in rows), default=5)
    print(f"{'fault':<{width}}  " + "  ".join(f"{name:>8}" for name in COUNTS))
    for row in rows:
        print(f"{row['fault']:<{width}}  " + "  ".join(f"{row[name]:>8}" for name in COUNTS))
    totals = {name: float(sum(row[name] for row in rows)) for name in COUNTS}
    written = write_record("faults", rows, totals)
    page = with_table(DOCUMENT.read_text(encoding="utf-8"), json.loads(written.read_text()))
    DOCUMENT.write_text(page, encoding="utf-8")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
