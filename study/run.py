"""Verb: run a whole study, from authored documents to a report.

`python -m study.run +experiment=quickstart`
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.again import shipped
from study.config import RESULT_BLIND, StudyConfig
from study.design import arms_of
from study.plan import Step, plan_steps
from tacit.errors import ConfigError
from tacit.rundir import open_run, run_key
from tacit.rundir.door import enter
from tacit.rundir.run import locked

if TYPE_CHECKING:
    from study.cost import Load
    from study.outcome import Outcome
    from tacit.rundir import RunDir

COMMANDS_SHOWN = 16


def study(config: StudyConfig) -> None:
    """Plan, run what is missing, analyse, report."""
    from study.cost import loads
    from study.reuse import check_reuse, take_over
    from study.show import print_commands, print_plan
    from tacit.rundir.console import console_for
    from tacit.universe import load_universe

    if not config.experiment:
        raise ConfigError(f"no experiment: add +experiment=quickstart ({', '.join(shipped())})")
    out = Path(config.out or _default_out(config.experiment))
    steps = plan_steps(config, out)
    universe = load_universe(config.universe_name)
    _check_models(config)
    check_reuse(config.reuse)
    asked = loads(config, steps, universe)
    console = console_for(120, markup=True)
    if config.dry_run:
        print_plan(console, config, steps, asked)
        print_commands(console, steps)
        return
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    settings["universe_sha256"] = run_key(universe.model_dump(mode="json"))
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do. Report: {run.path / 'report.html'}")
        return
    if run.path != out:
        steps = plan_steps(config, run.path)
    with locked(run.path):
        print_plan(console, config, steps, asked)
        if len(steps) <= COMMANDS_SHOWN:
            print_commands(console, steps)
        started = time.monotonic()
        for step, other in take_over(run.path, steps, config.reuse):
            console.print(f"take {step.kind:7} {step.name} from {other}", highlight=False)
        _run_steps(console, config, run, steps, asked)
        outcome = _conclude(console, config, run, steps)
        console.print(f"this call took {(time.monotonic() - started) / 60:.1f} min")
    if outcome.holes:
        from study.outcome import StepFailed, say

        raise StepFailed(say(outcome.holes))


def _default_out(experiment: str) -> str:
    """Return the folder; each job of a `--multirun` has one of its own, named by what differs."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from study.plan import slug

    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        varied = [o for o in HydraConfig.get().overrides.task if "experiment=" not in o]
        return f"outputs/{experiment}-{slug('-'.join(varied))}"
    return f"outputs/{experiment}"


def _check_models(config: StudyConfig) -> None:
    """Refuse a model or an adapter that is not there before anything is made.

    Raises:
        ModelError: an unknown model or organism, no adapter there, or one of another base.
    """
    from tacit.models.adapters import check_adapter, check_model
    from tacit.models.characters import character

    names = [f"{config.provider}/{config.model}"] if "base" not in config.models else []
    for name in [*names, *(one.model for one in config.models.values())]:
        provider, _, rest = name.partition("/")
        if provider == "local":
            check_model(rest)
        elif provider == "organism":
            character(rest)
    for one in config.models.values():
        provider, _, base = one.model.partition("/")
        named = one.args.get("adapter", []) if provider in ("local", "vllm") else []
        for adapter in [named] if isinstance(named, str) else named:
            check_adapter(Path(adapter), base)


def _run_steps(
    console: Any,
    config: StudyConfig,
    run: "RunDir",
    steps: Sequence[Step],
    asked: "Mapping[str, Load]",
) -> None:
    from study.live import Progress
    from study.schedule import run_by_launcher, run_side_by_side

    planned = {name: load.seconds for name, load in asked.items()}
    with Progress(console, steps, planned, config.workers) as progress:
        if config.launcher:
            run_by_launcher(run.path, steps, config.launcher, config.launcher_args, progress)
        else:
            run_side_by_side(run.path, steps, config.workers, progress)


def _conclude(console: Any, config: StudyConfig, run: "RunDir", steps: Sequence[Step]) -> "Outcome":
    from study.outcome import analyse
    from study.report import write_report
    from study.show import print_result

    started = time.monotonic()
    outcome = analyse(config, run.path, run.key, steps)
    write_report(run.path, outcome, steps, config)
    if not outcome.holes:
        run.finish(report="report.html")
    print_result(console, outcome, arms_of(config))
    timings = outcome.record["timings_s"]
    stages = ", ".join(f"{kind} {sum(group.values()):.0f} s" for kind, group in timings.items())
    console.print(f"time by stage: {stages}, analysis {time.monotonic() - started:.0f} s")
    console.print(f"report: {run.path / 'report.html'}", highlight=False)
    console.print(
        f"transcripts: inspect view --log-dir {run.path / 'evals'}", highlight=False, soft_wrap=True
    )
    return outcome


def main() -> None:
    """Console entry."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    enter(study, "study", StudyConfig)


if __name__ == "__main__":
    main()
