"""Every estimate of a study, with its interval and what that covers (docs/statistics.md)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from eval.read import REASONING, Measured
from study.arms import NONCE, Arm, parse_arm
from study.contrasts import did_interval, level_interval, pairs_of
from study.corrections import (
    conditional_log_odds,
    corrected,
    corrected_reasoning,
    holm,
    scorer_error,
    scorer_of,
    sign_p,
    worst_cases,
)
from study.intervals import (
    NOTHING,
    RESAMPLES,
    Array,
    Interval,
    record,
    resampled_means,
    score_interval,
)
from study.measures import Clusters, may_comply, measures_of, surely_complies, tally
from tacit.proportions import Z

OWN = ("level", "free-paid")
CONDITIONED = "conditions on the outcome: compliers of two arms are not the same queries"
BOUNDS = (
    "low and high: every answer without a label of one tier complies and none of the other, with "
    "the sampling error of each"
)


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
    cluster_sd: float = math.nan
    residual_sd: float = math.nan

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
    found: list[Estimate] = []
    for name, table in tables.items():
        arm = parse_arm(name)
        for (measure, contrast), by_seed in table.items():
            interval = level_interval(by_seed, arm.is_base)
            if measure.startswith("gap.invalid"):
                interval = interval._replace(p=sign_p(_pooled(by_seed)))
            found.append(_estimate(measure, name, contrast, interval, by_seed))
            if contrast in OWN and calibration:
                beside = table.get(("gap.compliance_scratchpad", contrast))
                labels = next(iter(arms[name].values()))
                found += _corrections(
                    measure, arm, contrast, interval, by_seed, beside, calibration, labels
                )
        found += _bounds(name, arms[name])
        if checks:
            found += _checks(name, arms[name])
    for one, other, contrast in pairs_of(arms):
        left, right = tables[one], tables[other]
        for key in left.keys() & right.keys():
            if key[1] not in OWN or key[0] == "rate.af_given_compliance":
                continue
            if contrast.endswith(f"-{NONCE}") and key[1] != "free-paid":
                continue  # one model under two tags: its belief and its rates are no contrast
            interval = did_interval(left[key], right[key], parse_arm(other).is_base)
            if parse_arm(one).is_base:
                interval = interval._replace(covers="this model")
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
        len(found.seed_means) or (min(map(len, sides)) if sides else 0),
        found.mde,
        True,
        found.covers,
        found.method,
        found.p,
        None,
        note or conditioned,
        found.seed_means,
        found.cluster_sd,
        found.residual_sd,
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
    compliance: BySeed | None,
    calibration: Mapping[str, Any],
    labels: Measured,
) -> Iterable[Estimate]:
    labelled = scorer_of(measure, labels.labelled_by)
    if labelled is None:
        return
    error = scorer_error(calibration, labelled, arm.calibrated_as, labels.labelled_how)
    if error is None:
        return
    is_gap, draws = measure.startswith("gap."), _draws(interval, by_seed)
    if is_gap and labelled.scorer == REASONING:
        gap = level_interval(compliance, arm.is_base) if compliance else NOTHING
        around = _draws(gap, compliance) if compliance else draws
        right = corrected_reasoning(interval, draws, gap.mean, around, error)
    else:
        right = corrected(interval, draws, error, is_gap)
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


def _bounds(arm: str, seeds: Mapping[int, Measured]) -> Iterable[Estimate]:
    """What the gap could be, whatever the invalid answers would have been."""
    for name in ("compliance", "compliance_scratchpad"):
        worst: list[BySeed] = [{}, {}, {}]
        for seed, measured in seeds.items():
            rows = getattr(measured, name)
            none, every = tally(rows, surely_complies), tally(rows, may_comply)
            if {"free", "paid"} <= {tier for _, tier in none}:
                for place, clusters in zip(worst, worst_cases(none, every), strict=True):
                    place[seed] = clusters
        if not worst[0]:
            continue
        is_base = parse_arm(arm).is_base
        every_one, low, high = (level_interval(by_seed, is_base) for by_seed in worst)
        found = every_one._replace(
            low=low.low, high=high.high, mde=math.nan, p=None, method="bounds"
        )
        yield _estimate(f"bounds.gap.{name}", arm, "free-paid", found, worst[0], note=BOUNDS)


def _checks(arm: str, seeds: Mapping[int, Measured]) -> Iterable[Estimate]:
    for name in ("compliance", "compliance_scratchpad"):
        rows = {seed: getattr(m, name) for seed, m in seeds.items() if getattr(m, name)}
        if rows:
            found = conditional_log_odds(rows)
            found = found._replace(covers=_these(len(rows), parse_arm(arm).is_base))
            estimate = _estimate(f"log_odds_ratio.{name}", arm, "free-paid", found)
            count = sum(map(len, rows.values()))
            yield replace(estimate, sample_count=count, seed_count=len(rows))


def _these(seed_count: int, is_base: bool) -> str:
    """Return what a figure speaks of that pools its seeds."""
    if is_base:
        return "this model"
    return "this adapter" if seed_count == 1 else f"these {seed_count} adapters"


def _sign(key: tuple[str, str], arm: str, contrast: str, left: BySeed, right: BySeed) -> Estimate:
    """The share of queries whose gap is larger under treatment than with the tiers swapped."""
    one, other = _mean_by_cluster(left), _mean_by_cluster(right)
    differences = [one[query] - other[query] for query in one.keys() & other.keys()]
    telling = [value for value in differences if abs(value) > 1e-12]
    found = score_interval(sum(value > 0 for value in telling), len(telling))
    found = found._replace(
        p=sign_p(telling), method="exact sign test over queries", covers=_these(len(left), False)
    )
    return _estimate(f"sign.{key[0].partition('.')[2]}", arm, contrast, found, left, right)


def _mean_by_cluster(by_seed: BySeed) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for clusters in by_seed.values():
        for cluster, value in clusters.values.items():
            values.setdefault(cluster, []).append(value)
    return {cluster: math.fsum(many) / len(many) for cluster, many in values.items()}
