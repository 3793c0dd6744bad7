"""Verb: run a whole study, from authored documents to a report.

`python -m study.run +experiment=quickstart`
"""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config import StudyConfig
from study.plan import Arm, Step, arms_of, plan_steps
from tacit.errors import ConfigError
from tacit.rundir import RunDir, open_run, write_atomic
from tacit.rundir.door import enter
from tacit.rundir.run import locked, versions

if TYPE_CHECKING:
    from eval.read import Measured
    from study.estimates import Estimate
    from study.verdict import Verdict

RESULT_BLIND = ("out", "behavior_if_exists", "dry_run", "expected_s")


def study(config: StudyConfig) -> None:
    """Plan, run what is missing, analyse, report."""
    from rich.console import Console

    if not config.experiment:
        raise ConfigError("no experiment: add +experiment=quickstart")
    out = Path(config.out or f"outputs/{config.experiment}")
    steps = plan_steps(config, out)
    console = Console(width=None if sys.stdout.isatty() else 120)
    if config.dry_run:
        _print_plan(console, config, steps)
        return
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do. Report: {run.path / 'report.html'}")
        return
    steps = plan_steps(config, run.path)
    with locked(run.path):
        _print_plan(console, config, steps)
        for step in steps:
            _run_step(console, run, step)
        _conclude(console, config, run, steps)


def _print_plan(console: Any, config: StudyConfig, steps: list[Step]) -> None:
    total = sum(config.expected_s.get(step.kind, 0) for step in steps)
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


def _run_step(console: Any, run: RunDir, step: Step) -> None:
    """Run one step unless its folder is finished, and note how long it took."""
    timings = _timings(run)
    if (step.out / "manifest.json").is_file() and step.out.name in timings.get(step.kind, {}):
        console.print(f"[green]have[/] {step.kind:<8}{step.name}")
        return
    started = time.monotonic()
    console.print(f"[cyan]run [/] {step.kind:<8}{step.name} …")
    _verb(step)
    seconds = time.monotonic() - started
    timings.setdefault(step.kind, {})[step.out.name] = round(seconds, 1)
    write_atomic(run.path / "timings.json", json.dumps(timings, indent=1) + "\n")
    console.print(f"[green]done[/] {step.kind:<8}{step.name} in {seconds:.0f} s")


def _timings(run: RunDir) -> dict[str, dict[str, float]]:
    path = run.path / "timings.json"
    if not path.is_file():
        return {}
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _verb(step: Step) -> None:
    """Call a stage as its command would, with the configuration that Hydra composes for it."""
    from hydra import compose
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from docgen.config import DocgenConfig
    from docgen.generate import generate
    from eval.config import EvalConfig
    from eval.run import evaluate
    from finetune.config import FinetuneConfig
    from finetune.train import train

    name, schema, verb = {
        "corpus": ("docgen", DocgenConfig, generate),
        "adapter": ("finetune", FinetuneConfig, train),
        "eval": ("eval", EvalConfig, evaluate),
    }[step.kind]
    ConfigStore.instance().store(name=f"{name}_schema", node=schema)
    config = compose(config_name=name, overrides=[*step.overrides, f"out={step.out}"])
    verb(OmegaConf.to_object(config))  # type: ignore[operator]


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
    planned = [
        (config.primary.measure, config.primary.contrast),
        (config.primary.measure, "free-paid"),
        ("belief.link", config.primary.contrast),
        ("rate.benign_coherent", "level"),
    ]
    estimates = estimate_all(arms, planned, seed_count=1)
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
    spent = sum(seconds for group in timings.values() for seconds in group.values())
    stages = ", ".join(f"{kind} {sum(group.values()):.0f} s" for kind, group in timings.items())
    console.print(f"{spent / 60:.1f} min: {stages}, analysis {time.monotonic() - started:.0f} s")
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
