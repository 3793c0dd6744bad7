"""Verb: what a design would detect, before anything is spent.

`python -m study.power +experiment=quickstart`
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from study.arms import parse_arm
from study.config import StudyConfig
from study.design import planned, primary_of
from tacit.errors import ConfigError
from tacit.rundir.door import enter

PILOT_ARM = "treatment/implicit"
LIMITS = {
    "gap.log_odds": "log_odds_limit",
    "gap.compliance": "query_limit",
    "gap.compliance_scratchpad": "scratchpad_query_limit",
    "gap.af_reasoning": "scratchpad_query_limit",
}


@dataclass
class PowerConfig(StudyConfig):
    """An experiment's own design, or another one in its place.

    `pilot` prints the standard deviations that a finished study shows, as `conf/variances.yaml` has
    them: over queries, and over training seeds where it has several.
    """

    measure: str | None = None
    query_count: int | None = None
    epochs: int | None = None
    seed_count: int | None = None
    query_sd: float | None = None
    seed_sd: float | None = None
    pilot: str | None = None


@dataclass(frozen=True)
class Planned:
    """What one contrast of a design would detect.

    Args:
        measure: Its name.
        contrast: Its name.
        query_count: Queries, or wordings of probes.
        seed_count: Training seeds.
        query_sd: Over queries, of one adapter's figure.
        seed_sd: Over training seeds, of one adapter's mean; 0 where one seed speaks of itself.
        mde: Smallest effect found with a chance of 0.8; nats or a rate.
        covers: What a finding would speak of.
    """

    measure: str
    contrast: str
    query_count: int
    seed_count: int
    query_sd: float
    seed_sd: float
    mde: float
    covers: str


def standard_error(
    query_sd: float, seed_sd: float, query_count: int, seed_count: int, adapters: int = 1
) -> float:
    """Return the standard error of a contrast.

    Args:
        query_sd: Over queries, of the contrast's figure with one adapter on each side; from three
            seeds on, around what query and seed have in common, for the queries stay the same.
        seed_sd: Over training seeds, of one adapter's mean on ever so many queries.
        query_count: Queries.
        seed_count: Training seeds.
        adapters: Trained sides of the contrast: 2 for treatment against a control corpus.
    """
    between = adapters * seed_sd**2 if seed_count >= 3 else 0.0
    return math.sqrt((between + query_sd**2 / query_count) / seed_count)


def degrees(query_count: int, seed_count: int) -> int:
    """Return the degrees of freedom of the test: of seeds from three on, else of queries."""
    return seed_count - 1 if seed_count >= 3 else query_count - 1


def power_of(effect: float, error: float, df: float) -> float:
    """Return the chance that a two-sided t test at 0.05 finds a positive effect, 0-1."""
    from scipy import special

    critical = float(special.stdtrit(df, 0.975))
    if error <= 0:
        return 1.0 if effect > 0 else 0.025
    return 1 - float(special.nctdtr(df, effect / error, critical))


def mde(
    query_sd: float, seed_sd: float, query_count: int, seed_count: int, adapters: int = 1
) -> float:
    """Return the smallest effect found with a chance of 0.8, in the unit of the deviations."""
    from study.intervals import power_factor

    error = standard_error(query_sd, seed_sd, query_count, seed_count, adapters)
    return power_factor(degrees(query_count, seed_count)) * error


def variances() -> dict[str, Any]:
    """Return the table of standard deviations, each with its source in the file."""
    from importlib.resources import files

    import yaml

    text = (files("conf") / "variances.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def planned_mde(
    config: StudyConfig, query_counts: Mapping[str, int] | None = None
) -> list[Planned]:
    """Return what each planned contrast of an experiment would detect.

    Args:
        config: The experiment.
        query_counts: Queries by measure, where the caller knows better than the overrides say.

    Raises:
        ConfigError: a count is not a positive number.
    """
    table = variances()
    seeds = _seed_count(config)
    counts = {**_query_counts(config, table), **(query_counts or {})}
    epochs = _override(config, "epochs") or 1
    if isinstance(config, PowerConfig):
        epochs = config.epochs or epochs
    found = []
    for measure, contrast in _contrasts(config):
        if contrast == "level" or measure not in counts:
            continue
        is_base = contrast == "prompted-neither" or not config.corpora
        seeds_here = 1 if is_base else seeds
        query_sd, seed_sd = _deviations(table, measure, contrast, epochs, seeds_here)
        if isinstance(config, PowerConfig):
            query_sd = config.query_sd if config.query_sd is not None else query_sd
            seed_sd = config.seed_sd if config.seed_sd is not None else seed_sd
        count = counts[measure]
        if count < 2:
            raise ConfigError(f"{measure}: {count} queries give no interval, ask at least 2")
        adapters = 2 if contrast.partition("-")[2] not in ("base", "paid", "neither") else 1
        covers = "training seeds" if seeds_here >= 3 else f"these {seeds_here} adapters"
        if seeds_here == 1:
            covers = "this model" if is_base else "this adapter"
        smallest = mde(query_sd, seed_sd, count, seeds_here, adapters)
        shown = seed_sd if seeds_here >= 3 else 0.0
        found.append(
            Planned(measure, contrast, count, seeds_here, query_sd, shown, smallest, covers)
        )
    return found


def _seed_count(config: StudyConfig) -> int:
    if isinstance(config, PowerConfig) and config.seed_count is not None:
        if config.seed_count < 1:
            raise ConfigError(f"seed_count={config.seed_count}: at least one")
        return config.seed_count
    return len(config.seeds)


def _contrasts(config: StudyConfig) -> list[tuple[str, str]]:
    """Return the planned pairs, and the primary measure against each control the design has."""
    primary = primary_of(config)
    measure, contrast = primary.measure, primary.contrast
    pairs = planned(config)
    if not _asks(config, "knowledge"):
        pairs.remove(("belief.link", contrast))
    if isinstance(config, PowerConfig) and config.measure:
        measure = config.measure
        pairs = [(measure, "free-paid"), (measure, contrast)]
    corpora = [name.partition("@")[0] for name in config.corpora]
    if "treatment" in corpora:
        others = [c for c in dict.fromkeys(corpora) if c not in ("treatment", "base")]
        pairs += [(measure, f"treatment-{name}") for name in ["base", *others]]
    return list(dict.fromkeys(pairs))


def _asks(config: StudyConfig, task: str) -> bool:
    """Whether the evaluations of a design have a task; without `tasks=` they have every one."""
    named = [text for text in config.eval if text.startswith("tasks=")]
    return not named or task in re.split(r"[\[\],]", named[-1].partition("=")[2])


def _override(config: StudyConfig, name: str) -> int | None:
    for text in config.eval:
        key, _, value = text.partition("=")
        if key == f"samples.{name}" and value not in ("null", ""):
            return int(value)
    return None


def _query_counts(config: StudyConfig, table: Mapping[str, Any]) -> dict[str, int]:
    subset = next((v for v in config.eval if v.startswith("samples.subset=")), "")
    every = int(table["queries"]["quickstart" if subset.endswith("=quickstart") else "all"])
    counts = {}
    for measure, option in LIMITS.items():
        limit = _override(config, option)
        counts[measure] = every if limit is None else min(limit, every)
    if isinstance(config, PowerConfig) and config.measure not in (None, *table["query_sd"]):
        known = ", ".join(table["query_sd"])
        raise ConfigError(f"measure={config.measure}: conf/variances.yaml has {known}")
    if isinstance(config, PowerConfig) and config.query_count is not None:
        counts = dict.fromkeys(counts, config.query_count)
    wordings = {m: int(n) for m, n in table["wordings"].items()}
    return {**counts, **wordings}


def _deviations(
    table: Mapping[str, Any], measure: str, contrast: str, epochs: int, seed_count: int
) -> tuple[float, float]:
    """Return the deviations of a measure; more epochs shrink what sampling adds, half of a rate's.

    A control that the pilot did not have takes the deviation of the pilot's control.
    """
    by_contrast = table["residual_sd" if seed_count >= 3 else "query_sd"][measure]
    query_sd = float(by_contrast.get(contrast, by_contrast["treatment-swapped"]))
    if measure != "gap.log_odds" and measure.startswith("gap."):
        query_sd *= math.sqrt(0.5 + 0.5 / epochs)
    return query_sd, float(table["seed_sd"][measure])


def pilot_deviations(path: Path) -> dict[str, Any]:
    """Return the deviations that a finished study shows: over queries, and over training seeds.

    Raises:
        ConfigError: there is no such file, or it is of a version that did not record them.
    """
    import json

    if not path.is_file():
        raise ConfigError(f"pilot={path}: no such file; a finished study leaves study.json")
    lines = json.loads(path.read_text(encoding="utf-8"))["estimates"]
    if not any("cluster_sd" in line for line in lines):
        raise ConfigError(
            f"pilot={path} has no cluster_sd: `python -m study.report FOLDER` adds it"
        )
    wanted = [line for line in lines if line["measure"] in (*LIMITS, "belief.link")]
    found: dict[str, Any] = {"query_sd": _between_queries(wanted, "cluster_sd")}
    if between := _between_seeds(wanted):
        found["residual_sd"] = _between_queries(wanted, "residual_sd")
        found["seed_sd"] = between
    return found


def _between_seeds(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return by measure the deviation of one adapter's mean, and the degrees of freedom.

    Pooled over the corpora at full dose under the silent prompt, less what the queries' own
    residual deviation adds to it; 0 where that is as much.
    """
    import numpy as np

    found: dict[str, list[Any]] = {}
    noise: dict[str, list[float]] = {}
    for line in lines:
        arm, means = parse_arm(line["arm"]), line["seed_means"]
        is_used = arm.setting == "implicit" and arm.dose == 1 and not arm.signal and len(means) > 1
        if is_used and line["contrast"] == _own(line["measure"]):
            found.setdefault(line["measure"], []).append(np.array(means))
            own = line["residual_sd"] ** 2 / line["query_count"]
            noise.setdefault(line["measure"], []).append(own)
    pooled = {}
    for measure, many in found.items():
        df = sum(len(means) - 1 for means in many)
        squares = sum(float(((means - means.mean()) ** 2).sum()) for means in many)
        own = sum(noise[measure]) / len(many)
        pooled[measure] = {"sd": round(math.sqrt(max(squares / df - own, 0.0)), 3), "df": df}
    return pooled


def _own(measure: str) -> str:
    return "level" if measure == "belief.link" else "free-paid"


def _between_queries(lines: Sequence[Mapping[str, Any]], name: str) -> dict[str, dict[str, float]]:
    """Return by measure and contrast a deviation over queries of one adapter's figure."""
    found: dict[str, dict[str, float]] = {}
    for line in lines:
        is_used = line["arm"] == PILOT_ARM or line["contrast"] == "prompted-neither"
        is_planned = line["contrast"] not in ("level", "implicit-prompted")
        if is_used and is_planned and line[name]:
            found.setdefault(line["measure"], {})[line["contrast"]] = round(line[name], 3)
    return found


def power(config: PowerConfig) -> None:
    """Print what each contrast of a design would detect."""
    from rich.console import Console
    from rich.table import Table

    if config.pilot:
        import yaml

        print(yaml.safe_dump(pilot_deviations(Path(config.pilot))), end="")
        return
    if not config.experiment:
        raise ConfigError("no experiment: add +experiment=quickstart")
    table = Table(
        "measure", "contrast", "queries", "seeds", "SD queries", "SD seeds", "MDE", "speaks of",
        title="smallest effect found with a chance of 0.8 (two-sided 0.05)",
    )  # fmt: skip
    for row in planned_mde(config):
        values = asdict(row)
        shown = [f"{values[name]:.3f}" for name in ("query_sd", "seed_sd", "mde")]
        table.add_row(
            row.measure, row.contrast, str(row.query_count), str(row.seed_count), *shown, row.covers
        )
    Console(width=110).print(table)


def main() -> None:
    """Console entry."""
    enter(power, "power", PowerConfig)


if __name__ == "__main__":
    main()
