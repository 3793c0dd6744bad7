"""Verb: run one step of a study's plan as a job, where a Hydra launcher put it.

`python -m study.step --multirun hydra/launcher=ray study=outputs/dose_response step=0,1,2`
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from tacit.errors import ConfigError
from tacit.rundir.door import enter


@dataclass
class StepConfig:
    """A study's folder, which holds `plan.json`, and the number of a step in it."""

    study: str = MISSING
    step: int = MISSING


def run_step(config: StepConfig) -> None:
    """Run one step and write down how it ended; a failure is written down too, not raised.

    Raises:
        ConfigError: the folder holds no plan, or no such step.
    """
    from study.parts import argv, conclude_step, is_done, log_path
    from study.schedule import read_plan

    if not (Path(config.study) / "plan.json").is_file():
        raise ConfigError(f"{config.study} holds no plan.json: `python -m study.run` writes it")
    folder, study, steps = read_plan(Path(config.study))
    if not 0 <= config.step < len(steps):
        raise ConfigError(f"step={config.step}: the plan has steps 0 to {len(steps) - 1}")
    os.chdir(folder)  # the commands' paths are relative to where the study was started
    step = steps[config.step]
    if is_done(study, step):
        print(f"have {step.id}")
        return
    started = time.monotonic()
    log = log_path(study, step)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        code = subprocess.run(argv(step), stdout=output, stderr=subprocess.STDOUT).returncode
    hole = conclude_step(study, step, code, time.monotonic() - started)
    print(f"{'FAILED' if hole else 'done'} {step.id}{f': {hole.why}' if hole else ''}")


def main() -> None:
    """Console entry."""
    enter(run_step, "step", StepConfig)


if __name__ == "__main__":
    main()
