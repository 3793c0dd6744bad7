"""Intervals: what each claims is in its `covers` and `method`; none of a rate has width 0.

Every function is pure; randomness comes in as the seed of a resampling that is drawn once a size.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tacit.proportions import Z, wilson

Array = NDArray[np.float64]
RESAMPLES = 4000
SPARSE_CLUSTERS = 10
"""Below so many clusters with an event a rate gets a score interval, not a bootstrap."""
FEWEST_RESAMPLED = 8
"""Below so many clusters a bootstrap covers less than it says: of five 92 %, of three 76 %."""
CACHED_CLUSTERS = 1000
TAIL_FLOOR = 1 / (RESAMPLES + 1)


class Interval(NamedTuple):
    """A mean with its 95 % interval.

    Args:
        mean: The estimate.
        low: NaN where there is no interval, as `high` and `mde`.
        high: Of the 95 % interval.
        mde: Smallest effect the design would detect (power 0.8, two-sided 0.05).
        cluster_count: Queries or wordings.
        p: Of no effect, two-sided; None where that is no question.
        method: How it was made.
        covers: What the interval speaks of.
        seed_means: The estimate of each training seed, in their order; empty of one.
        cluster_sd: Standard deviation over clusters of one adapter's figure; over several seeds
            the root of the mean square.
        residual_sd: That of an adapter's figure around what its query and its seed have in common:
            what more queries take away where the queries stay the same. NaN of one seed.
    """

    mean: float
    low: float
    high: float
    mde: float
    cluster_count: int
    p: float | None = None
    method: str = "none"
    covers: str = "this adapter"
    seed_means: tuple[float, ...] = ()
    cluster_sd: float = math.nan
    residual_sd: float = math.nan


NOTHING = Interval(math.nan, math.nan, math.nan, math.nan, 0)


@lru_cache(maxsize=256)
def power_factor(df: float, power: float = 0.8) -> float:
    """Return the effect, in standard errors, that a two-sided t test at 0.05 finds.

    Solves for the noncentrality; for many degrees of freedom it is 2.80.

    Args:
        df: Degrees of freedom.
        power: Chance of finding it, 0-1.
    """
    critical = float(special.stdtrit(df, 0.975))
    low, high = 0.0, critical + 40.0
    for _ in range(60):
        middle = (low + high) / 2
        missed = float(special.nctdtr(df, middle, critical))
        low, high = (middle, high) if 1 - missed < power else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=32)
def _weights(count: int, seed: int) -> Array:
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return drawn / count


def resampled_means(values: Array, seed: int = 0) -> Array:
    """Return the sorted means of resampled clusters.

    Args:
        values: One figure a cluster, shape (clusters,).
        seed: Of the resampling.
    """
    count = len(values)
    if count <= CACHED_CLUSTERS:
        return np.sort(_weights(count, seed) @ values)
    random = np.random.default_rng(seed)
    shares = np.full(count, 1 / count)
    step = max(1, 2_000_000 // count)
    sizes = [min(step, RESAMPLES - start) for start in range(0, RESAMPLES, step)]
    return np.sort(
        np.concatenate([random.multinomial(count, shares, size) @ values for size in sizes]) / count
    )


def bootstrap(values: Array, seed: int = 0) -> Interval:
    """Return the mean of clusters with an expanded percentile bootstrap.

    The percentile bootstrap is too narrow for few clusters, by sqrt((n - 1) / n) and by the
    normal's quantile where the t's is due; the tails are set so that both are made good.

    Args:
        values: One figure a cluster.
        seed: Of the resampling.

    Source: Hesterberg 2015, What Teachers Should Know About the Bootstrap, section 5.3.
    """
    count, mean = len(values), float(values.mean())
    stretch = math.sqrt(count / (count - 1))
    tail = float(special.ndtr(-stretch * special.stdtrit(count - 1, 0.975)))
    means = resampled_means(values, seed)
    low, high = np.quantile(means, [tail, 1 - tail])
    below = np.searchsorted(means, 0.0, side="right") / RESAMPLES
    above = 1 - np.searchsorted(means, 0.0, side="left") / RESAMPLES
    reach = -special.ndtri(min(max(min(below, above), TAIL_FLOOR), 0.5)) / stretch
    p = float(2 * special.stdtr(count - 1, -reach))
    error = float(values.std(ddof=1)) / math.sqrt(count)
    mde = power_factor(count - 1) * error
    return Interval(mean, float(low), float(high), mde, count, p, "bootstrap by cluster")


def score_interval(hits: float, count: int) -> Interval:
    """Return a share with its score interval; `hits` of clusters may be a fraction."""
    if not count:
        return NOTHING
    share, low, high = wilson(hits, count)
    return Interval(share, low, high, math.nan, count, None, "score by cluster")


def _tango_z(up: float, down: float, count: int, delta: float) -> float:
    """Return the score statistic of the hypothesis that the paired difference is `delta`."""
    b = -up - down + (2 * count - up + down) * delta
    c = -down * delta * (1 - delta)
    nuisance = (math.sqrt(max(b * b - 8 * count * c, 0.0)) - b) / (4 * count)
    variance = count * (2 * nuisance + delta * (1 - delta))
    distance = up - down - count * delta
    return distance / math.sqrt(variance) if variance > 1e-12 else math.copysign(1e9, distance)


def tango(up: float, down: float, count: int) -> Interval:
    """Return a difference of paired rates with its score interval.

    With no event at all it is ±3.84 / (n + 3.84).

    Args:
        up: Pairs of which the first complies and the second does not; may be a fraction.
        down: The reverse.
        count: Pairs.

    Source: Tango 1998, Statistics in Medicine 17, 891-908.
    """
    mean = (up - down) / count
    ends = []
    for sign, edge in ((1, -1.0), (-1, 1.0)):
        inside, outside = mean, edge
        for _ in range(48):
            middle = (inside + outside) / 2
            if sign * _tango_z(up, down, count, middle) < Z:
                inside = middle
            else:
                outside = middle
        ends.append((inside + outside) / 2)
    p = float(2 * special.ndtr(-abs(up - down) / math.sqrt(up + down))) if up + down else 1.0
    error = math.sqrt(max(up + down - (up - down) ** 2 / count, 0.0)) / count
    # Four pairs that differ, all one way, are the fewest whose score interval leaves zero out.
    fewest = float(special.betaincinv(4, count - 3, 0.8)) if count > 3 else 1.0
    mde = min(max(power_factor(1e6) * error, fewest), 1.0)
    return Interval(mean, ends[0], ends[1], mde, count, p, "score of pairs")


def combined(one: Interval, other: Interval) -> Interval:
    """Return the difference of two intervals, where both have too few events to resample.

    Takes the two as independent, which over-covers where pairing by query correlates them.

    Source: Zou and Donner 2008, Statistics in Medicine 27, 1693-1702 (MOVER).
    """
    mean = one.mean - other.mean
    low = mean - math.hypot(one.mean - one.low, other.high - other.mean)
    high = mean + math.hypot(one.high - one.mean, other.mean - other.low)
    error = (high - low) / (2 * Z)
    p = float(2 * special.ndtr(-abs(mean) / error)) if error > 0 else None
    mde = power_factor(1e6) * error
    return Interval(mean, low, high, mde, one.cluster_count, p, "two score intervals")


def t_interval(
    means: Array,
    cluster_count: int,
    extra: float = 0.0,
    extra_df: float = 1.0,
    is_upper: bool = False,
) -> Interval:
    """Return the mean of seed means with its t interval.

    With a constant that has an error of its own the interval is Satterthwaite's for the sum, and
    never narrower than that of the seeds alone: of three seeds and a small error the former covers
    92 % only, the larger of the two 95 to 96 %. Where the error is too wide already, the sum's.

    Args:
        means: One figure a training seed, at least three.
        cluster_count: Queries behind each.
        extra: Variance of a constant that was subtracted and is known with error (the base).
        extra_df: Degrees of freedom behind it.
        is_upper: Whether `extra` is more than it is, as over queries with one sample each.

    Source: Satterthwaite 1946 for the degrees of freedom of the sum.
    """
    count, mean = len(means), float(means.mean())
    own = float(means.var(ddof=1)) / count
    parts = [(own, count - 1.0)]
    if extra > 0:
        df = (own + extra) ** 2 / (own**2 / (count - 1) + extra**2 / extra_df)
        parts = [(own + extra, df)] if is_upper else [*parts, (own + extra, df)]
    reach = max(float(special.stdtrit(df, 0.975)) * math.sqrt(v) for v, df in parts)
    p = max(float(2 * special.stdtr(df, -abs(mean) / math.sqrt(v))) for v, df in parts)
    mde = max(power_factor(round(df, 2)) * math.sqrt(v) for v, df in parts)
    method = "t on seed means" if not extra else "t on seed means, base with its own error"
    return Interval(
        mean, mean - reach, mean + reach, mde, cluster_count, p, method, "training seeds"
    )


def by_cluster(values: Array, kind: str, seed: int = 0) -> Interval:
    """Return the mean of one adapter's clusters with an interval over clusters.

    Args:
        values: One figure a cluster.
        kind: `nats`, `rate` (0-1) or `gap` of two rates (-1 to 1).
        seed: Of the resampling.
    """
    count = len(values)
    if count == 0:
        return NOTHING
    mean = float(values.mean())
    if kind == "rate":
        hits = float(values.sum())
        if min(np.count_nonzero(values), np.count_nonzero(values - 1)) < SPARSE_CLUSTERS:
            return score_interval(hits, count)
        return clipped(bootstrap(values, seed), 0.0)._replace(p=None, mde=math.nan)
    if kind == "gap" and np.count_nonzero(values) < SPARSE_CLUSTERS:
        return tango(float(values.clip(0).sum()), float(-values.clip(None, 0).sum()), count)
    if count < 3 or np.ptp(values) == 0:
        if kind == "gap":
            return tango(float(values.clip(0).sum()), float(-values.clip(None, 0).sum()), count)
        return Interval(mean, math.nan, math.nan, math.nan, count, None, "too few clusters")
    if count < FEWEST_RESAMPLED:
        return _t_on_clusters(values)
    found = bootstrap(values, seed)
    return clipped(found, -1.0) if kind == "gap" else found


def _t_on_clusters(values: Array) -> Interval:
    """Return the mean of a few clusters: no resample of theirs lies outside of what they are."""
    found = t_interval(values, len(values))
    return found._replace(method="t on clusters", covers="this adapter")


def clipped(found: Interval, floor: float) -> Interval:
    """Return an interval of a rate within its bounds."""
    return found._replace(low=max(found.low, floor), high=min(found.high, 1.0))


def record(value: Any) -> Any:
    """Return a figure as JSON has it: what does not exist is null."""
    return None if isinstance(value, float) and math.isnan(value) else value
