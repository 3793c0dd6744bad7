"""Verb: two studies side by side, on the console and as one Markdown or HTML file.

`python -m study.compare outputs/quickstart results/quickstart --out compare.html`
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tacit.errors import ConfigError
from tacit.rundir import write_atomic
from tacit.rundir.door import enter_plain

if TYPE_CHECKING:
    from study.estimates import Estimate
    from study.outcome import Outcome


class Row(NamedTuple):
    """One estimate as several studies have it; None where a study lacks it."""

    measure: str
    arm: str
    contrast: str
    found: "tuple[Estimate | None, ...]"

    @property
    def is_apart(self) -> bool:
        """Whether two of the intervals do not meet."""
        known = [e for e in self.found if e is not None and e.low == e.low and e.high == e.high]
        return any(a.low > b.high for a in known for b in known)


def rows_of(outcomes: "Sequence[Outcome]", show_all: bool = False) -> list[Row]:
    """Return the estimates side by side: those planned in any study, or all."""
    tables = [{(e.measure, e.arm, e.contrast): e for e in one.estimates} for one in outcomes]
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = [Row(*key, tuple(table.get(key) for table in tables)) for key in keys]
    if not show_all:
        rows = [row for row in rows if any(e is not None and not e.exploratory for e in row.found)]
    return sorted(rows, key=lambda row: (row.measure, row.contrast, row.arm))


def differences(outcomes: "Sequence[Outcome]", names: Sequence[str]) -> list[str]:
    """Return, in words, where the studies' designs differ: what is compared must be comparable."""
    lines = []
    for key in ("experiment", "model", "universe", "primary", "seeds", "versions"):
        values = [one.record.get(key) for one in outcomes]
        if any(value != values[0] for value in values):
            said = "; ".join(f"{name}: {_short(v)}" for name, v in zip(names, values, strict=True))
            lines.append(f"{key} differs: {said}")
    for name, one in zip(names, outcomes, strict=True):
        if one.record.get("holes"):
            lines.append(f"{name} is incomplete: {len(one.record['holes'])} parts are missing")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return "not recorded" if value is None else str(value)


def cell(estimate: "Estimate | None") -> str:
    """Return an estimate with its interval, or a dash."""
    from study.verdict import show

    return "–" if estimate is None else show(estimate).replace("nan", "–")


def verdict_rows(outcomes: "Sequence[Outcome]") -> list[tuple[str, tuple[str, ...]]]:
    """Return each arm's verdicts, study by study."""
    tables = [{v.arm: v.verdict for v in one.verdicts} for one in outcomes]
    arms = dict.fromkeys(arm for table in tables for arm in table)
    return [(arm, tuple(table.get(arm, "–") for table in tables)) for arm in arms]


def render(
    outcomes: "Sequence[Outcome]", names: Sequence[str], rows: Sequence[Row], kind: str
) -> str:
    """Return the comparison as `html` or `md`."""
    from study.templates import environment

    return (
        environment(escape=kind == "html")
        .get_template(f"compare.{kind}.jinja")
        .render(
            names=names, rows=rows, verdicts=verdict_rows(outcomes), cell=cell,
            differences=differences(outcomes, names),
        )
    )  # fmt: skip


def compare(folders: Sequence[Path], out: Path | None, show_all: bool) -> None:
    """Print studies side by side, and write them to a file if one is named.

    Raises:
        ConfigError: fewer than two folders, or a file that is neither HTML nor Markdown.
        RunDirError: a folder holds no study.
    """
    from rich.table import Table

    from study.published import published
    from tacit.rundir.console import console_for

    if len(folders) < 2:
        raise ConfigError("name at least two folders, each with a study.json")
    kind = out.suffix.lstrip(".") if out else ""
    if out and kind not in ("html", "md"):
        raise ConfigError(f"--out {out}: a name that ends in .html or .md")
    names = _names(folders)
    outcomes = [published(folder) for folder in folders]
    rows = rows_of(outcomes, show_all)
    console = console_for(140)
    for line in differences(outcomes, names):
        console.print(line, highlight=False, soft_wrap=True)
    verdicts = Table("arm", *names, title="verdicts", title_justify="left")
    for arm, words in verdict_rows(outcomes):
        verdicts.add_row(arm, *words)
    console.print(verdicts)
    table = Table("measure", "contrast", "arm", *names, "", title="estimate [95 % interval]",
                  title_justify="left")  # fmt: skip
    for row in rows:
        cells = [cell(e) for e in row.found]
        mark = "apart" if row.is_apart else ""
        table.add_row(row.measure, row.contrast, row.arm, *cells, mark)
    console.print(table)
    if not rows:
        console.print("no planned estimate in any of them: --all shows the exploratory ones")
    if out:
        write_atomic(out, render(outcomes, names, rows, kind))
        console.print(f"written: {out}", highlight=False)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return a name for each study: its folder's, or the whole path where two are alike."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def main() -> None:
    """Console entry."""
    enter_plain(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="study.compare", description="Studies side by side.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a study's folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="an .html or .md file")
    parser.add_argument("--all", action="store_true", help="exploratory estimates too")
    arguments = parser.parse_args()
    compare(arguments.folders, arguments.out, arguments.all)


if __name__ == "__main__":
    main()
