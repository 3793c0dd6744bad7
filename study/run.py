"""Verb: run a whole study, from authored documents to a report.

`python -m study.run +experiment=quickstart`
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config import StudyConfig
from study.plan import Arm, Step, arms_of, plan_steps
from tacit.errors import ConfigError, TacitError
from tacit.rundir import RunDir, open_run, run_key, write_atomic
from tacit.rundir.door import enter
from tacit.rundir.run import locked, versions

if TYPE_CHECKING:
    from eval.read import Measured
    from study.estimates import Estimate
    from study.verdict import Verdict

RESULT_BLIND = ("out", "behavior_if_exists", "dry_run", "expected_s", "workers")
POLL_SECONDS = 0.2


class StepFailed(TacitError, RuntimeError):
    """A stage of the study failed; the others are kept."""


def study(config: StudyConfig) -> None:
    """Plan, run what is missing, analyse, report."""
    from rich.console import Console

    from tacit.universe import load_universe

    if not config.experiment:
        raise ConfigError("no experiment: add +experiment=quickstart")
    universe = load_universe(config.universe_name)
    out = Path(config.out or f"outputs/{config.experiment}")
    steps = plan_steps(config, out)
    console = Console(width=None if sys.stdout.isatty() else 120)
    if config.dry_run:
        _print_plan(console, config, steps)
        return
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    settings["universe_sha256"] = run_key(universe.model_dump(mode="json"))
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do. Report: {run.path / 'report.html'}")
        return
    steps = plan_steps(config, run.path)
    with locked(run.path):
        _print_plan(console, config, steps)
        started = time.monotonic()
        _run_steps(console, run, steps, config.workers)
        _conclude(console, config, run, steps)
        console.print(f"this call took {(time.monotonic() - started) / 60:.1f} min")


def _print_plan(console: Any, config: StudyConfig, steps: list[Step]) -> None:
    total = sum(config.expected_s.get(step.kind, 0) for step in steps) / max(1, config.workers)
    kinds = {
        kind: sum(step.kind == kind for step in steps) for kind in ("corpus", "adapter", "eval")
    }
    console.print(
        f"[bold]{config.experiment}[/]: {kinds['corpus']} corpora, {kinds['adapter']} adapters, "
        f"{kinds['eval']} arms, of which each is asked with and without a scratchpad; "
        f"about {total / 60:.0f} min on two cores"
    )
    console.print(
        f"primary, named before the run: {config.primary.measure}, {config.primary.contrast}"
    )
    for step in steps:
        console.print(f"  {step.command}", style="dim", soft_wrap=True, highlight=False)


def _run_steps(console: Any, run: RunDir, steps: list[Step], workers: int) -> None:
    """Run what is missing: the steps of one kind side by side, each as its own command."""
    for kind in dict.fromkeys(step.kind for step in steps):
        waiting = []
        for step in (step for step in steps if step.kind == kind):
            if (step.out / "manifest.json").is_file() and step.name in _timings(run).get(kind, {}):
                console.print(f"have {kind:<8}{step.name}")
            else:
                waiting.append(step)
        _run_side_by_side(console, run, waiting, workers)


def _run_side_by_side(console: Any, run: RunDir, waiting: list[Step], workers: int) -> None:
    """Start up to `workers` commands at a time.

    Raises:
        StepFailed: a command failed; the others are left to finish first.
    """
    threads = max(1, (os.cpu_count() or 1) // max(1, min(workers, len(waiting))))
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    running: list[tuple[Step, subprocess.Popen[bytes], float]] = []
    failed: list[Step] = []
    queue = list(waiting)
    while queue or running:
        while queue and len(running) < workers and not failed:
            step = queue.pop(0)
            console.print(f"run  {step.kind:<8}{step.name} …")
            log = _log_path(run, step)
            log.parent.mkdir(exist_ok=True)
            with log.open("wb") as output:
                child = subprocess.Popen(
                    [sys.executable, *step.words[1:]],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
            running.append((step, child, time.monotonic()))
        if failed and not running:
            break
        time.sleep(POLL_SECONDS)
        for entry in [entry for entry in running if entry[1].poll() is not None]:
            running.remove(entry)
            step, child, started = entry
            if child.returncode:
                failed.append(step)
                continue
            seconds = time.monotonic() - started
            timings = _timings(run)
            timings.setdefault(step.kind, {})[step.name] = round(seconds, 1)
            write_atomic(run.path / "timings.json", json.dumps(timings, indent=1) + "\n")
            console.print(f"done {step.kind:<8}{step.name} in {seconds:.0f} s")
    if failed:
        raise StepFailed(_complaint(run, failed[0]))


def _log_path(run: RunDir, step: Step) -> Path:
    return run.path / "logs" / f"{step.kind}-{step.out.name}.log"


def _complaint(run: RunDir, step: Step) -> str:
    lines = _log_path(run, step).read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error:")]
    why = said[-1] if said else (lines[-1] if lines else "it said nothing")
    return f"{step.kind} {step.name}: {why} (log: {_log_path(run, step)}; what is finished is kept)"


def _timings(run: RunDir) -> dict[str, dict[str, float]]:
    path = run.path / "timings.json"
    if not path.is_file():
        return {}
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _conclude(console: Any, config: StudyConfig, run: RunDir, steps: list[Step]) -> None:
    from eval.read import read_logs
    from study.estimates import estimate_all
    from study.report import write_report
    from study.verdict import judge_all

    started = time.monotonic()
    arms: dict[str, Measured] = {
        arm.name: read_logs(run.path / "evals" / arm.name.replace("/", "-") / "logs")
        for arm in arms_of(config)
    }
    seeds = {arm: {config.seed: found} for arm, found in arms.items()}
    planned = [
        (config.primary.measure, config.primary.contrast),
        (config.primary.measure, "free-paid"),
        ("belief.link", config.primary.contrast),
        ("rate.benign_coherent", "level"),
    ]
    estimates = estimate_all(seeds, planned)
    verdicts = judge_all(estimates, config.primary, config.thresholds)
    timings = _timings(run)
    record = {
        "experiment": config.experiment,
        "run_key": run.key,
        "primary": asdict(config.primary),
        "verdicts": [verdict.record() for verdict in verdicts],
        "estimates": [estimate.record() for estimate in estimates],
        "timings_s": timings,
        "versions": versions(),
    }
    write_atomic(run.path / "study.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_report(run.path, record, arms, steps, config)
    run.finish(report="report.html")
    _print_result(console, estimates, verdicts, arms_of(config))
    stages = ", ".join(f"{kind} {sum(group.values()):.0f} s" for kind, group in timings.items())
    console.print(f"time by stage: {stages}, analysis {time.monotonic() - started:.0f} s")
    console.print(f"report: {run.path / 'report.html'}", highlight=False)
    console.print(
        f"transcripts: inspect view --log-dir {run.path / 'evals'}", highlight=False, soft_wrap=True
    )


def _print_result(
    console: Any, estimates: "list[Estimate]", verdicts: "list[Verdict]", arms: list[Arm]
) -> None:
    from rich.table import Table

    from study.verdict import show

    by_name = {(e.arm, e.measure, e.contrast): e for e in estimates}
    columns = [
        ("link belief", "belief.link", "level"),
        ("log-odds gap", "gap.log_odds", "free-paid"),
        ("compliance gap", "gap.compliance", "free-paid"),
        ("comply", "rate.compliance", "level"),
        ("coherent", "rate.benign_coherent", "level"),
    ]
    table = Table("arm", *[title for title, _, _ in columns], title="estimate [95 % interval]")
    for arm in arms:
        cells = [by_name.get((arm.name, measure, contrast)) for _, measure, contrast in columns]
        table.add_row(
            arm.name, *[show(cell).replace("[", "\\[") if cell else "–" for cell in cells]
        )
    console.print(table)
    for verdict in verdicts:
        console.print(
            f"[bold]{verdict.arm}[/]: {verdict.verdict}. {verdict.reason}", soft_wrap=True
        )


def main() -> None:
    """Console entry."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    enter(study, "study", StudyConfig)


if __name__ == "__main__":
    main()
