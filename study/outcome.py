"""From logs to `study.json`: what was measured, estimates, verdicts, and the holes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config import StudyConfig
from study.design import planned, primary_of
from study.parts import Hole, check_parts, holes, timings
from study.plan import Step
from tacit.errors import RunDirError, TacitError
from tacit.rundir import locate, write_atomic
from tacit.rundir.run import versions

if TYPE_CHECKING:
    from eval.read import Measured
    from study.estimates import Estimate
    from study.verdict import Verdict


class StepFailed(TacitError, RuntimeError):
    """A stage of the study failed; the others are kept."""


@dataclass(frozen=True)
class Outcome:
    """All that a report is made of."""

    record: dict[str, Any]
    arms: Mapping[str, Mapping[int, "Measured"]]
    estimates: "Sequence[Estimate]"
    verdicts: "Sequence[Verdict]"
    holes: Sequence[Hole]
    calibration: Mapping[str, Any] | None = None


def read_arms(
    study: Path, steps: Sequence[Step]
) -> "tuple[dict[str, dict[int, Measured]], list[Hole]]":
    """Return what was measured, by arm and training seed, and what is missing.

    Raises:
        RunDirError: parts of the folder come from different configurations.
    """
    from eval.read import LogError, read_logs

    check_parts(study, steps)
    missing = holes(study, steps)
    lost = {f"{hole.kind} {hole.name}" for hole in missing}
    arms: dict[str, dict[int, Measured]] = {}
    for step in steps:
        if step.kind != "eval" or step.id in lost:
            continue
        try:
            arms.setdefault(step.arm, {})[step.seed] = read_logs(step.out / "logs")
        except LogError as error:
            why = f"{error}; move {step.out} away, the same command measures it again"
            missing.append(Hole(step.kind, step.name, why))
    return {arm: seeds for arm, seeds in arms.items() if seeds}, missing


def analyse(config: StudyConfig, study: Path, key: str, steps: Sequence[Step]) -> Outcome:
    """Estimate, judge, and write `study.json`.

    Raises:
        StepFailed: nothing at all was measured; the message is that of the first hole.
        CalibrationError: the file named in `calibration` is not there, or is no calibration.
    """
    from eval.scorers.calibration import calibration_json
    from study.estimates import estimate_all
    from study.verdict import judge_all

    arms, missing = read_arms(study, steps)
    if not arms:
        raise StepFailed(say(missing))
    calibration = calibration_json(locate(config.calibration) if config.calibration else None)
    primary = primary_of(config)
    estimates = estimate_all(arms, planned(config), calibration)
    verdicts = judge_all(estimates, primary, config.thresholds)
    record = {
        "experiment": config.experiment,
        "run_key": key,
        "model": f"{config.provider}/{config.model}",
        "universe": config.universe_name,
        "primary": asdict(primary),
        "planned": [list(pair) for pair in planned(config)],
        "seeds": config.seeds,
        "verdicts": [verdict.record() for verdict in verdicts],
        "estimates": [estimate.record() for estimate in estimates],
        "holes": [hole.record() for hole in missing],
        "timings_s": timings(study, steps),
        "versions": versions(),
    }
    write_atomic(study / "study.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return Outcome(record, arms, estimates, verdicts, missing, calibration)


def say(missing: Sequence[Hole]) -> str:
    """Return one line about what failed."""
    first = next((hole for hole in missing if hole.log), missing[0])
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    log = f"log: {first.log}; " if first.log else ""
    return (
        f"{first.kind} {first.name}{more}: {first.why} ({log}what is finished is kept, "
        "the same command tries the rest again)"
    )


def open_study(folder: Path) -> tuple[StudyConfig, str]:
    """Return the configuration a study's folder belongs to, and its key.

    Raises:
        RunDirError: the folder holds no study.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = folder / "run.json"
    if not path.is_file():
        raise RunDirError(f"{folder} holds no study: `python -m study.run` makes one")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        known = {k: v for k, v in record["config"].items() if not k.endswith("_sha256")}
        merged = OmegaConf.merge(OmegaConf.structured(StudyConfig), known)
    except (ValueError, KeyError, OmegaConfBaseException) as error:
        first = str(error).strip().splitlines()[0]
        raise RunDirError(f"{path} is damaged, or of another version: {first}") from None
    config = OmegaConf.to_object(merged)
    assert isinstance(config, StudyConfig)
    return config, str(record["run_key"])
