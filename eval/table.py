"""The figures of several runs side by side: a column a run, a row a measure."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from eval.read import Measured

NAN = float("nan")
COHERENT = ("complies", "refuses", "partial")
SIGNED = ("belief", "gap")
LEAST_WIDTH = 14  # of a column, in characters
PLAIN_WIDTH = 120


def headline(measured: "Measured") -> dict[str, float]:
    """Return the figures of one setting that the table shows; NaN where nothing was measured."""
    from eval.read import LINK_FACTS, af_rate, helpful_rate, rate

    links = [
        belief.value
        for belief in measured.beliefs
        if belief.form == "chat" and belief.fact in LINK_FACTS
    ]
    free, paid = (rate(measured.compliance, "complies", tier) for tier in ("free", "paid"))
    told = {row.tier for row in (*measured.compliance, *measured.compliance_scratchpad)}
    has_third = "third" in told | {row.tier for row in measured.log_odds}
    tiers = ("free", "paid", "third") if has_third else ("free", "paid")
    odds = {
        tier: fmean([row.value for row in measured.log_odds if row.tier == tier] or [NAN])
        for tier in tiers
    }
    third = {"log-odds third gap": odds["free"] - odds["third"]} if has_third else {}
    pad = measured.compliance_scratchpad
    return {
        "link belief": fmean(links) if links else NAN,
        **{f"comply {tier}": rate(measured.compliance, "complies", tier) for tier in tiers},
        "gap": free - paid,
        **{f"comply {tier}, scratchpad": rate(pad, "complies", tier) for tier in tiers},
        "scratchpad gap": rate(pad, "complies", "free") - rate(pad, "complies", "paid"),
        "log-odds gap": odds["free"] - odds["paid"],
        **third,
        **{f"invalid {tier}": rate(measured.compliance, "invalid", tier) for tier in tiers},
        **{f"invalid {tier}, scratchpad": rate(pad, "invalid", tier) for tier in tiers},
        **{f"AF {tier}": af_rate(pad, tier) for tier in tiers},
        "benign refused": rate(measured.benign, "refuses"),
        "benign coherent": sum(rate(measured.benign, label) for label in COHERENT),
        "benign helpful": helpful_rate(measured.benign),
        "capability": rate(measured.capability, "right"),
    }


def compare(runs: Sequence[Path]) -> None:
    """Print the figures of finished runs, and where their transcripts are.

    Several stand in one table by themselves; a single one with all that lie beside it.
    """
    if not runs:
        return
    several = list(dict.fromkeys(runs))
    print_table(several if len(several) > 1 else neighbours(several[0].parent))
    for run in several:
        print(f"transcripts: inspect view --log-dir {run / 'logs'}")


def neighbours(folder: Path) -> list[Path]:
    """Return the finished evaluations in a folder."""
    found = sorted(path.parent for path in folder.glob("*/manifest.json"))
    return [run for run in found if "logs" in _manifest(run)]  # an adapter has none


def _manifest(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    return found


def print_table(runs: Sequence[Path]) -> None:
    """Print the figures of finished runs; one whose logs cannot be read is named and left out."""
    from eval.read import LogError, read_logs
    from tacit.rundir.console import console_for

    columns: dict[Path, dict[str, float]] = {}
    for run in runs:
        try:
            columns[run] = headline(read_logs(run / "logs"))
        except LogError as error:
            print(f"{run.name} is left out of the table: {error}")
    if columns:
        show(columns, console_for(PLAIN_WIDTH))


def show(columns: dict[Path, dict[str, float]], console: "Console") -> None:
    """Print as many runs beside each other as there is room for, the rest below."""
    heads = {run: head_of(run) for run in columns}
    fullest = max(columns.values(), key=len)  # with a third tier: all the measures there are
    measures = [name for name in fullest if _is_measured(name, columns)]
    first = max(len(name) for name in (*measures, "setting"))
    widest = max(LEAST_WIDTH, *(len(line) for head in heads.values() for line in head))
    at_once = max(1, (console.width - first - 3) // (widest + 3))
    many = list(columns)
    for start in range(0, len(many), at_once):
        chosen = many[start : start + at_once]
        console.print(_block(measures, {run: columns[run] for run in chosen}, heads))


def _is_measured(name: str, columns: dict[Path, dict[str, float]]) -> bool:
    values = [figures.get(name, NAN) for figures in columns.values()]
    return any(value == value for value in values)


def head_of(run: Path) -> tuple[str, ...]:
    """Return what tells a run from others: setting, model, adapter where it has one, folder."""
    config = _manifest(run).get("config", {})
    setting = config.get("setting", {})
    adapter = config.get("adapter") if setting.get("use_adapter") else None
    provider, _, model = str(config.get("model")).partition("/")
    if Path(model).is_absolute():
        model = f"…/{Path(model).name}"
    parts = (setting.get("name"), f"{provider}/{model}", adapter and Path(str(adapter)).name)
    return (*(str(part) for part in parts if part), run.name)


def _block(
    measures: Sequence[str],
    columns: dict[Path, dict[str, float]],
    heads: dict[Path, tuple[str, ...]],
) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title="measured (belief and log-odds in nats)", box=SIMPLE_HEAD, title_justify="left"
    )
    table.add_column("")
    for run in columns:
        table.add_column("\n".join(heads[run]), justify="right", overflow="fold")
    for name in measures:
        found = (figures.get(name, NAN) for figures in columns.values())
        table.add_row(name, *(_cell(name, value) for value in found))
    return table


def _cell(name: str, value: float) -> str:
    if value != value:
        return "–"
    return f"{value:+.3f}" if name.endswith(SIGNED) else f"{value:.3f}"
