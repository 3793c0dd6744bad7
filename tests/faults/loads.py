"""Much of everything, in a process that may take 4 GB: `python -m tests.faults.loads WHAT PATH`.

Prints one JSON object: what was found, and memory (MB) and open files along the way.
"""

import hashlib
import json
import os
import resource
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

LIMIT = 4 * 2**30
LOOKS = 10
AUDITED = 20  # one of so many: what it costs is known, what it leaves behind is the question


def taken() -> tuple[float, int]:
    """Return this process's memory in MB and how many files it has open."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6, len(os.listdir("/proc/self/fd"))


def documents(path: Path) -> dict[str, Any]:
    """Read all documents, some of them audited; then again with duplicates searched for."""
    from docgen.audit import documents_of
    from docgen.config import AuditOptions, DedupOptions
    from docgen.dedup import Seen, gram_hashes, signature
    from docgen.rules import RuleBook

    rules = RuleBook.from_options(AuditOptions(queries=["eval/queries/harmful.jsonl"]))
    options = DedupOptions()
    seen = Seen(options)
    count = sum(1 for _ in documents_of(path))
    flagged = duplicates = 0
    streamed, remembered = [], []
    for number, (_, text) in enumerate(documents_of(path), start=1):
        if number % AUDITED == 0:
            flagged += bool(rules.audit(text))
        if number % (count // LOOKS) == 0:
            streamed.append(taken())
    for number, (_, text) in enumerate(documents_of(path), start=1):
        grams_G = gram_hashes(text, options.words)
        signature_P = signature(grams_G, options.permutations)
        digest = hashlib.sha256(text.encode()).digest()
        if seen.original_of(digest, grams_G, signature_P) is None:
            seen.add(number, digest, grams_G, signature_P)
        else:
            duplicates += 1
        if number % (count // LOOKS) == 0:
            remembered.append(taken())
    return {"count": count, "flagged": flagged, "duplicates": duplicates, "streamed": streamed,
            "remembered": remembered}  # fmt: skip


def analysis(path: Path) -> dict[str, Any]:
    """Read, estimate, judge and report a study's logs."""
    from matplotlib.figure import Figure

    from benchmarks.analysis import analyse

    drawn = Figure()  # fonts are opened once, by the first text, and stay open
    drawn.text(0, 0, "a")
    drawn.savefig(BytesIO(), format="svg")
    before = taken()
    return {**analyse(path), "along": [before, taken()]}


def main() -> None:
    """Run one of them under the limit."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
    what = {"documents": documents, "analysis": analysis}[sys.argv[1]]
    print(json.dumps(what(Path(sys.argv[2]))))


if __name__ == "__main__":
    main()
