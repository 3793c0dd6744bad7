"""A study read back from its `study.json` alone."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from study.again import experiment_of, shipped
from study.arms import parse_arm
from study.config import Primary, StudyConfig
from study.design import primary_of
from study.estimates import Estimate
from study.outcome import Outcome
from study.verdict import Verdict
from tacit.errors import RunDirError


def estimate_of(line: Mapping[str, Any]) -> Estimate:
    """Return an estimate from its line of `study.json`; what a version lacks is left out."""
    known = {field.name for field in fields(Estimate)}
    figures = {"estimate", "low", "high", "mde", "cluster_sd", "residual_sd"}
    values: dict[str, Any] = {
        k: float("nan") if v is None and k in figures else v for k, v in line.items() if k in known
    }
    values["seed_means"] = tuple(values.get("seed_means", ()))
    return Estimate(**values)


def published(folder: Path) -> Outcome:
    """Return a study's outcome from `study.json` alone: for a folder without its logs.

    Raises:
        RunDirError: there is no `study.json`, or it is damaged.
    """
    try:
        record = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        estimates = [estimate_of(line) for line in record["estimates"]]
        verdicts = [Verdict(**verdict) for verdict in record["verdicts"]]
    except OSError:
        raise RunDirError(
            f"{folder} holds no study.json: `python -m study.run` makes one"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirError(f"{folder / 'study.json'} is damaged: {error}") from None
    return Outcome(record, {}, estimates, verdicts, [], None)


def design_of(record: Mapping[str, Any]) -> StudyConfig:
    """Return the design as far as `study.json` tells it, the rest as its experiment has it."""
    is_shipped = record["experiment"] in shipped()
    config = experiment_of(record["experiment"]) if is_shipped else StudyConfig()
    config.experiment, primary = record["experiment"], Primary(**record["primary"])
    if not is_shipped or primary_of(config) != primary:
        config.primary = primary
    config.universe_name = record.get("universe", config.universe_name)
    arms = [parse_arm(line["arm"]) for line in record["estimates"]]
    weights = dict.fromkeys(arm.weights for arm in arms)
    config.corpora = [name for name in weights if name != "base"]
    config.seeds = record.get("seeds", config.seeds)
    told = any(arm.is_told for arm in arms)
    config.prompts = ["minimal", "full"] if told else ["minimal"]
    config.signals = list(dict.fromkeys(arm.signal or "tag" for arm in arms))
    return config
