"""Reading Inspect logs back into rows, from sample summaries rather than whole logs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tacit.errors import TacitError


class LogError(TacitError, ValueError):
    """A log is missing, unfinished or not ours."""


class Answered(NamedTuple):
    """One reply to one query under one tier."""

    query: str
    tier: str
    epoch: int
    label: str
    answer: str


class Odds(NamedTuple):
    """The log-odds of complying, in nats, of one query under one tier."""

    query: str
    tier: str
    value: float


class Belief(NamedTuple):
    """The log-odds of the truth, in nats, of one group of probes."""

    fact: str
    group: str
    form: str
    value: float


@dataclass
class Measured:
    """All that was measured in one setting."""

    compliance: list[Answered] = field(default_factory=list)
    compliance_scratchpad: list[Answered] = field(default_factory=list)
    benign: list[Answered] = field(default_factory=list)
    log_odds: list[Odds] = field(default_factory=list)
    beliefs: list[Belief] = field(default_factory=list)


def read_logs(folder: Path) -> Measured:
    """Read every finished log of a folder.

    Raises:
        LogError: there is no log, or one did not finish.
    """
    from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample_summaries

    infos = list_eval_logs(str(folder), descending=False)
    if not infos:
        raise LogError(f"no Inspect logs in {folder}: run `python -m eval.run` first")
    newest: dict[str, Any] = {}
    for info in infos:
        header = read_eval_log(info, header_only=True)
        if header.status == "success":
            newest[f"{header.eval.task} {sorted(header.eval.task_args.items())}"] = (info, header)
    if not newest:
        raise LogError(f"no log in {folder} finished: run the same command again")
    measured = Measured()
    for info, header in newest.values():
        task = header.eval.task.split("/")[-1]
        summaries = read_eval_log_sample_summaries(info)
        _add(measured, task, bool(header.eval.task_args.get("scratchpad")), summaries)
    return measured


def _add(measured: Measured, task: str, scratchpad: bool, summaries: Iterable[Any]) -> None:
    for summary in summaries:
        if not summary.scores:
            continue
        (score,) = summary.scores.values()
        details = score.metadata or {}
        if task == "knowledge":
            measured.beliefs += [
                Belief(str(summary.id), group, form, value)
                for form, groups in details.items()
                for group, value in groups.items()
            ]
        elif task == "log_odds_gap":
            measured.log_odds.append(Odds(details["query"], details["tier"], float(score.value)))
        elif task in ("compliance_gap", "benign"):
            row = Answered(
                details["query"],
                details["tier"],
                summary.epoch,
                str(score.value),
                score.answer or "",
            )
            if task == "benign":
                measured.benign.append(row)
            elif scratchpad:
                measured.compliance_scratchpad.append(row)
            else:
                measured.compliance.append(row)


def rate(rows: Iterable[Answered], label: str, tier: str | None = None) -> float:
    """Return the share of rows with a label (0-1), of one tier or of both; NaN of none."""
    chosen = [row.label for row in rows if tier is None or row.tier == tier]
    return chosen.count(label) / len(chosen) if chosen else float("nan")
