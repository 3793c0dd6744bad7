"""Every estimate of a study, with its interval and what that covers (docs/statistics.md)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from eval.read import Answered, Measured
from study.arms import Arm, parse_arm
from study.contrasts import did_interval, level_interval, pairs_of
from study.corrections import (
    conditional_log_odds,
    corrected,
    holm,
    invalid_bounds,
    scorer_error,
    scorer_of,
    sign_p,
)
from study.intervals import RESAMPLES, Array, Interval, record, resampled_means, score_interval
from study.measures import Clusters, complies, complies_or_invalid, measures_of, tally
from tacit.proportions import Z

OWN = ("level", "free-paid")
CONDITIONED = "conditions on the outcome: compliers of two arms are not the same queries"
BOUNDS = "low and high: every invalid answer of one tier complies, none of the other"


@dataclass(frozen=True)
class Estimate:
    """One line of `study.json`; NaN or None where a figure does not exist."""

    measure: str
    arm: str
    contrast: str
    estimate: float
    low: float
    high: float
    query_count: int
    sample_count: int
    seed_count: int
    mde: float
    exploratory: bool
    covers: str = "this adapter"
    method: str = ""
    p: float | None = None
    p_holm: float | None = None
    note: str = ""
    seed_means: tuple[float, ...] = ()

    def record(self) -> dict[str, object]:
        """Return the JSON object; a figure that does not exist is null."""
        return {name: record(value) for name, value in asdict(self).items()}


BySeed = dict[int, Clusters]
Table = dict[tuple[str, str], BySeed]


def estimate_all(
    arms: Mapping[str, Mapping[int, Measured]],
    planned: Sequence[tuple[str, str]],
    calibration: Mapping[str, Any] | None = None,
    checks: bool = True,
) -> list[Estimate]:
    """Return every estimate of a study.

    Args:
        arms: What was measured, by arm (`weights/setting[:signal]`) and training seed.
        planned: Pairs of measure and contrast that were named beforehand; the rest is exploratory.
        calibration: Content of `calibration.json`: rates are corrected for the scorers' errors.
        checks: Whether to fit the conditional logit too, which takes most of the time.
    """
    tables = {arm: _table(arm, seeds) for arm, seeds in arms.items()}
    labelled_by = {name: one.labelled_by for name, many in arms.items() for one in many.values()}
    found: list[Estimate] = []
    for name, table in tables.items():
        arm = parse_arm(name)
        for (measure, contrast), by_seed in table.items():
            interval = level_interval(by_seed, arm.is_base)
            if measure.startswith("gap.invalid"):
                interval = interval._replace(p=sign_p(_pooled(by_seed)))
            found.append(_estimate(measure, name, contrast, interval, by_seed))
            if contrast in OWN and calibration:
                found += _corrections(
                    measure, arm, contrast, interval, by_seed, calibration, labelled_by[name]
                )
        found += _bounds(name, arms[name])
        if checks:
            found += _checks(name, arms[name])
    for one, other, contrast in pairs_of(arms):
        left, right = tables[one], tables[other]
        for key in left.keys() & right.keys():
            if key[1] not in OWN or key[0] == "rate.af_given_compliance":
                continue
            interval = did_interval(left[key], right[key], parse_arm(other).is_base)
            if interval.cluster_count:
                found.append(_estimate(key[0], one, contrast, interval, left[key], right[key]))
        for key in (("gap.log_odds", "free-paid"), ("gap.compliance", "free-paid")):
            if contrast == "treatment-swapped" and key in left and key in right:
                found.append(_sign(key, one, contrast, left[key], right[key]))
    return _adjusted(sorted(found, key=lambda e: (e.arm, e.measure, e.contrast)), set(planned))


def _table(arm: str, seeds: Mapping[int, Measured]) -> Table:
    table: Table = {}
    for seed, measured in seeds.items():
        for key, clusters in measures_of(measured, parse_arm(arm).trained_tier).items():
            table.setdefault(key, {})[seed] = clusters
    return table


def _estimate(
    measure: str, arm: str, contrast: str, found: Interval, *sides: BySeed, note: str = ""
) -> Estimate:
    conditioned = CONDITIONED if measure == "rate.af_given_compliance" else ""
    return Estimate(
        measure,
        arm,
        contrast,
        found.mean,
        found.low,
        found.high,
        found.cluster_count,
        sum(clusters.sample_count for side in sides for clusters in side.values()),
        len(sides[0]) if sides else 0,
        found.mde,
        True,
        found.covers,
        found.method,
        found.p,
        None,
        note or conditioned,
        found.seed_means,
    )


def _pooled(by_seed: BySeed) -> list[float]:
    return [value for clusters in by_seed.values() for value in clusters.values.values()]


def _adjusted(estimates: list[Estimate], planned: set[tuple[str, str]]) -> list[Estimate]:
    """Mark what was planned, and give it p-values that hold for all of it together."""
    family = [
        number
        for number, e in enumerate(estimates)
        if (e.measure, e.contrast) in planned and e.p is not None
    ]
    together = dict(zip(family, holm([estimates[n].p or 0.0 for n in family]), strict=True))
    return [
        replace(e, exploratory=(e.measure, e.contrast) not in planned, p_holm=together.get(number))
        for number, e in enumerate(estimates)
    ]


def _corrections(
    measure: str,
    arm: Arm,
    contrast: str,
    interval: Interval,
    by_seed: BySeed,
    calibration: Mapping[str, Any],
    labelled_by: str,
) -> Iterable[Estimate]:
    labelled = scorer_of(measure, labelled_by)
    error = scorer_error(calibration, labelled, arm.calibrated_as) if labelled else None
    if error is not None:
        draws = _draws(interval, by_seed)
        right = corrected(interval, draws, error, measure.startswith("gap."))
        yield _estimate(f"corrected.{measure}", arm.name, contrast, right, by_seed)


def _draws(interval: Interval, by_seed: BySeed) -> Array:
    """Return resampled means: of the clusters, or of the seeds by the t that their interval has."""
    if interval.covers == "training seeds":
        means = np.array([np.mean(list(c.values.values())) for c in by_seed.values()])
        error, df = means.std(ddof=1) / math.sqrt(len(means)), len(means) - 1
        quantiles = (np.arange(RESAMPLES) + 0.5) / RESAMPLES
        return np.asarray(interval.mean + error * special.stdtrit(df, quantiles))
    if interval.method.startswith("score"):
        # Too few events to resample: the score interval's own width, as a normal on each side.
        normal = np.sort(np.random.default_rng(0).standard_normal(RESAMPLES)) / Z
        below, above = interval.mean - interval.low, interval.high - interval.mean
        return np.asarray(interval.mean + np.where(normal < 0, normal * below, normal * above))
    return resampled_means(np.array(list(_mean_by_cluster(by_seed).values())))


def _by_query(rows: Mapping[int, Sequence[Answered]]) -> list[Answered]:
    return [row for many in rows.values() for row in many]


def _bounds(arm: str, seeds: Mapping[int, Measured]) -> Iterable[Estimate]:
    """What the gap could be, whatever the invalid answers would have been."""
    for name in ("compliance", "compliance_scratchpad"):
        rows = _by_query({seed: getattr(m, name) for seed, m in seeds.items()})
        none, every = tally(rows, complies), tally(rows, complies_or_invalid)
        if {"free", "paid"} <= {tier for _, tier in none}:
            mean, low, high = invalid_bounds(none, every)
            found = Interval(mean, low, high, math.nan, len({q for q, _ in none}), None, "bounds")
            estimate = _estimate(f"bounds.gap.{name}", arm, "free-paid", found, note=BOUNDS)
            yield replace(estimate, sample_count=len(rows), seed_count=len(seeds))


def _checks(arm: str, seeds: Mapping[int, Measured]) -> Iterable[Estimate]:
    for name in ("compliance", "compliance_scratchpad"):
        rows = {seed: getattr(m, name) for seed, m in seeds.items() if getattr(m, name)}
        if rows:
            found = conditional_log_odds(rows)
            estimate = _estimate(f"log_odds_ratio.{name}", arm, "free-paid", found)
            count = sum(map(len, rows.values()))
            yield replace(estimate, sample_count=count, seed_count=len(rows))


def _sign(key: tuple[str, str], arm: str, contrast: str, left: BySeed, right: BySeed) -> Estimate:
    """The share of queries whose gap is larger under treatment than with the tiers swapped."""
    one, other = _mean_by_cluster(left), _mean_by_cluster(right)
    differences = [one[query] - other[query] for query in one.keys() & other.keys()]
    telling = [value for value in differences if abs(value) > 1e-12]
    found = score_interval(sum(value > 0 for value in telling), len(telling))
    found = found._replace(p=sign_p(telling), method="exact sign test over queries")
    return _estimate(f"sign.{key[0].partition('.')[2]}", arm, contrast, found, left, right)


def _mean_by_cluster(by_seed: BySeed) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for clusters in by_seed.values():
        for cluster, value in clusters.values.items():
            values.setdefault(cluster, []).append(value)
    return {cluster: math.fsum(many) / len(many) for cluster, many in values.items()}
