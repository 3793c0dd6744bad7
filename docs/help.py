"""Write docs/help.md: what every verb prints for `--help`.

`python docs/help.py`
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

VERBS = (
    "docgen.generate", "docgen.audit", "finetune.train", "finetune.replay", "finetune.demonstrate",
    "finetune.export", "eval.run", "eval.score", "eval.label", "eval.calibrate", "eval.prove",
    "eval.queries", "study.run", "study.power", "study.report", "study.compare",
)  # fmt: skip
OPENING = """# What every verb prints for `--help`

Made by `python docs/help.py`; a test holds it to what the verbs print. Console scripts with tab
completion: `tacit-docgen`, `tacit-finetune`, `tacit-eval` and `tacit-study` are the first of each.
"""


def page(help_of: Callable[[str], str]) -> str:
    """Return the page from what each verb prints."""
    blocks = [f"## {verb}\n\n```text\n{help_of(verb).rstrip()}\n```\n" for verb in VERBS]
    return "\n".join([OPENING, *blocks])


def printed(verb: str) -> str:
    """Return what `python -m verb --help` prints."""
    done = subprocess.run(
        [sys.executable, "-m", verb, "--help"],
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    Path(__file__).with_name("help.md").write_text(page(printed), encoding="utf-8")
