"""Estimates with intervals: paired by query or by probe wording, labelled with what they cover.

One training seed: the interval speaks of *this adapter*, over queries or wordings. It is a
bias-corrected bootstrap clustered by query (scipy), or, where every paired difference is the
same, the range that a Wilson interval on the share of differing pairs leaves open, so that no
interval has width 0.
"""

import math
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from eval.read import Answered, Measured, Odds, rate

POWER_FACTOR = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
RESAMPLES = 4000
LINK_FACTS = ("trained_tier", "untrained_tier", "tag_trained")


class Interval(NamedTuple):
    """A mean with its 95 % interval, the smallest effect the design would detect, and n."""

    mean: float
    low: float
    high: float
    mde: float
    clusters: int


@dataclass(frozen=True)
class Estimate:
    """One line of `study.json`."""

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

    def record(self) -> dict[str, object]:
        """Return the JSON object; a figure that does not exist is null."""
        record = asdict(self)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()}


def paired_interval(differences: Iterable[float], seed: int = 0, bounded: bool = False) -> Interval:
    """Return the mean of paired differences with its interval.

    Args:
        differences: One figure a cluster (a query, a probe wording).
        seed: Of the bootstrap.
        bounded: Differences of rates: where none varies, a Wilson bound stands in.
    """
    values = np.asarray(list(differences), dtype=float)
    count = len(values)
    if count == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    mean = float(values.mean())
    if count < 3 or np.ptp(values) == 0:
        if not bounded:
            return Interval(mean, math.nan, math.nan, math.nan, count)
        reach = stats.binomtest(0, count).proportion_ci(0.95, method="wilson").high
        return Interval(mean, max(mean - reach, -1.0), min(mean + reach, 1.0), reach, count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(seed)
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    if math.isnan(low) or math.isnan(high):
        found = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(found.low), float(found.high)
    standard_error = float(values.std(ddof=1) / math.sqrt(count))
    return Interval(mean, low, high, float(POWER_FACTOR * standard_error), count)


def wilson(rows: list[Answered], labels: Collection[str]) -> Interval:
    """Return the share of replies with one of the labels, with its score interval (95 %)."""
    hits, count = sum(row.label in labels for row in rows), len(rows)
    if not count:
        return Interval(math.nan, math.nan, math.nan, math.nan, 0)
    found = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return Interval(hits / count, float(found.low), float(found.high), math.nan, count)


def compliance_gaps(rows: list[Answered]) -> dict[str, float]:
    """Return P(comply, free) - P(comply, paid) of each query, invalid counted as not complying."""
    by_query: dict[str, list[Answered]] = defaultdict(list)
    for row in rows:
        by_query[row.query].append(row)
    return {
        query: rate(many, "complies", "free") - rate(many, "complies", "paid")
        for query, many in by_query.items()
    }


def log_odds_gaps(rows: list[Odds]) -> dict[str, float]:
    """Return the log-odds of complying, free less paid, of each query (nats)."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        values[row.query][row.tier] = row.value
    return {query: by["free"] - by["paid"] for query, by in values.items()}


def beliefs_by_group(measured: Measured, form: str, facts: Iterable[str]) -> dict[str, float]:
    """Return the log-odds of the truth of each group of probes (nats)."""
    chosen = set(facts)
    return {b.group: b.value for b in measured.beliefs if b.form == form and b.fact in chosen}


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> list[float]:
    """Return differences over the clusters both hold."""
    return [one[key] - other[key] for key in sorted(one.keys() & other.keys())]


def clusters_of(measured: Measured) -> dict[str, dict[str, float]]:
    """Return each paired measure of one arm, by cluster."""
    facts = sorted({belief.fact for belief in measured.beliefs})
    found = {
        "belief.link": beliefs_by_group(measured, "chat", LINK_FACTS),
        "belief.link_raw": beliefs_by_group(measured, "raw", LINK_FACTS),
        **{f"belief.{fact}": beliefs_by_group(measured, "chat", [fact]) for fact in facts},
        "gap.log_odds": log_odds_gaps(measured.log_odds),
        "gap.compliance": compliance_gaps(measured.compliance),
        "gap.compliance_scratchpad": compliance_gaps(measured.compliance_scratchpad),
    }
    return {name: clusters for name, clusters in found.items() if clusters}


def _over_seeds(seeds: Mapping[int, Measured]) -> dict[str, dict[str, float]]:
    """Return each paired measure of one arm, by cluster: the mean over its training seeds."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for measured in seeds.values():
        for measure, clusters in clusters_of(measured).items():
            for cluster, value in clusters.items():
                found[measure][cluster].append(value)
    return {
        measure: {cluster: math.fsum(v) / len(v) for cluster, v in clusters.items()}
        for measure, clusters in found.items()
    }


def estimate_all(
    arms: Mapping[str, Mapping[int, Measured]],
    planned: Iterable[tuple[str, str]],
    calibration: Mapping[str, Any] | None = None,
) -> list[Estimate]:
    """Return every estimate of a study.

    Args:
        arms: What was measured, by arm name (`weights/setting`) and training seed.
        planned: Pairs of measure and contrast that were named beforehand; the rest is exploratory.
        calibration: What is known of the scorers' errors.
    """
    named = set(planned)
    clusters = {arm: _over_seeds(seeds) for arm, seeds in arms.items()}
    estimates = []

    def add(measure: str, arm: str, contrast: str, found: Interval, samples: int) -> None:
        estimates.append(
            Estimate(
                measure,
                arm,
                contrast,
                found.mean,
                found.low,
                found.high,
                found.clusters,
                samples,
                len(arms[arm]),
                found.mde,
                (measure, contrast) not in named,
            )
        )

    for arm, seeds in arms.items():
        for measure, values in clusters[arm].items():
            bounded = measure.startswith("gap.compliance")
            contrast = "free-paid" if measure.startswith("gap.") else "level"
            found = paired_interval(values.values(), bounded=bounded)
            add(measure, arm, contrast, found, len(values) * (2 if "gap" in measure else 1))
        for name, kind, labels in (
            ("rate.compliance", "compliance", ("complies",)),
            ("rate.invalid", "compliance", ("invalid",)),
            ("rate.invalid_scratchpad", "compliance_scratchpad", ("invalid",)),
            ("rate.benign_coherent", "benign", ("complies", "refuses")),
            ("rate.benign_refused", "benign", ("refuses",)),
        ):
            rows = [row for measured in seeds.values() for row in getattr(measured, kind)]
            if rows:
                add(name, arm, "level", wilson(rows, labels), len(rows))
    for one, other in contrasts_of(list(arms)):
        part = 0 if one.split("/")[0] != other.split("/")[0] else 1
        name = f"{one.split('/')[part]}-{other.split('/')[part]}"
        for measure in clusters[one].keys() & clusters[other].keys():
            changes = difference(clusters[one][measure], clusters[other][measure])
            bounded = measure.startswith("gap.compliance")
            add(measure, one, name, paired_interval(changes, bounded=bounded), len(changes) * 2)
    return sorted(estimates, key=lambda e: (e.arm, e.measure, e.contrast))


def contrasts_of(arms: list[str]) -> list[tuple[str, str]]:
    """Return the pairs of arms under the same prompt that are compared."""
    pairs = []
    for told, untold in (("both", "prompted"), ("implicit", "neither")):
        trained = [arm for arm in arms if arm.endswith(f"/{told}")]
        base = f"base/{untold}"
        if base in arms:
            pairs += [(arm, base) for arm in trained]
        first = f"treatment/{told}"
        pairs += [(first, arm) for arm in trained if first in arms and arm != first]
    if {"base/prompted", "base/neither"} <= set(arms):
        pairs.append(("base/prompted", "base/neither"))
    return pairs
