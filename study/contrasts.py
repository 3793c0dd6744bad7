"""Which arms are compared, and how a difference of differences is estimated."""

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from study.arms import NONCE, Arm, parse_arm
from study.intervals import (
    NOTHING,
    SPARSE_CLUSTERS,
    Array,
    Interval,
    by_cluster,
    clipped,
    combined,
    t_interval,
)
from study.measures import Clusters

FEWEST_SEEDS = 3


def pairs_of(arms: Collection[str]) -> list[tuple[str, str, str]]:
    """Return the pairs that are compared, each with the name of the contrast.

    Weights against the base under the same prompt; treatment against each other corpus under the
    same prompt, at its own dose where there is one; the base under two prompts, with what the
    documents and both do against the prompt alone; and every arm that could know the setup with
    itself under a tag that nothing explains (`treatment-nonce`).
    """
    pairs: list[tuple[str, str, str]] = []

    def add(one: Arm, other: Arm, name: str) -> None:
        if other.name in arms:
            pairs.append((one.name, other.name, name))

    for arm in map(parse_arm, arms):
        untold = {"both": "prompted", "implicit": "neither"}.get(arm.setting)
        if not arm.signal and arm.setting != "neither":
            stem = "prompted" if arm.is_base else arm.corpus
            add(arm, arm._replace(signal=NONCE), f"{stem}-{NONCE}")
        if untold is None:
            if arm.setting == "prompted":
                add(arm, arm._replace(setting="neither"), "prompted-neither")
            continue
        add(arm, Arm("base", untold, arm.signal), f"{arm.corpus}-base")
        if arm.corpus != "treatment":
            continue
        dose = arm.weights.removeprefix("treatment")
        others = {parse_arm(name) for name in arms}
        for other in sorted(others):
            if other[1:] != arm[1:] or other.corpus == "treatment":
                continue
            own = other.corpus + dose
            if other.weights == own or (other.weights == other.corpus and not _has(others, own)):
                add(arm, other, f"treatment-{other.corpus}")
        if arm.setting == "implicit":
            add(arm, Arm("base", "prompted", arm.signal), "implicit-prompted")
        else:
            add(arm, arm._replace(setting="implicit"), "both-implicit")
    return pairs


def _has(arms: Iterable[Arm], weights: str) -> bool:
    return any(arm.weights == weights for arm in arms)


def _matrix(
    seeds: Iterable[int], found: Mapping[int, Clusters], names: Iterable[str] | None = None
) -> tuple[list[str], Array]:
    """Return the clusters that all seeds share, and their figures, shape (seeds, clusters)."""
    chosen = list(seeds)
    shared = set.intersection(*(set(found[seed].values) for seed in chosen))
    if names is not None:
        shared &= set(names)
    keys = sorted(shared)
    return keys, np.array([[found[seed].values[key] for key in keys] for seed in chosen])


def level_interval(found: Mapping[int, Clusters], is_base: bool = False) -> Interval:
    """Return the estimate of one measure of one arm, over its training seeds.

    Three seeds or more: t on their means. Two: clusters of their mean. One: clusters.

    Args:
        found: The clusters of each seed.
        is_base: Nothing was trained, so that there is no seed to speak of.
    """
    kind = next(iter(found.values())).kind
    _, matrix = _matrix(found, found)
    if not matrix.size:
        return NOTHING
    means = matrix.mean(axis=1)
    if len(found) < FEWEST_SEEDS or np.ptp(means) < 1e-12:
        return _speaks_of(by_cluster(matrix.mean(axis=0), kind), matrix, is_base)
    result = _with_seeds(t_interval(means, matrix.shape[1]), matrix)
    if kind == "nats":
        return result
    result = clipped(result, 0.0 if kind == "rate" else -1.0)
    return result._replace(p=None, mde=math.nan) if kind == "rate" else result


def did_interval(
    one: Mapping[int, Clusters], other: Mapping[int, Clusters], other_is_base: bool
) -> Interval:
    """Return the difference of one measure between two arms, paired by cluster and by seed.

    Args:
        one: The clusters of each seed of the first arm.
        other: Of the second.
        other_is_base: The second is the base: a constant, known with its own sampling error.
    """
    constant = other_is_base and len(other) == 1
    seeds = sorted(one) if constant else sorted(one.keys() & other.keys())
    if not seeds:
        return NOTHING
    base_seed = next(iter(other))
    against = dict.fromkeys(seeds, other[base_seed]) if constant else other
    keys, left = _matrix(seeds, one, _names(seeds, against))
    _, right = _matrix(seeds, against, keys)
    if not keys:
        return NOTHING
    kind = one[seeds[0]].kind
    differences = left - right
    means = differences.mean(axis=1)
    if len(seeds) >= FEWEST_SEEDS:
        extra, is_upper = _noise(other[base_seed], keys) if constant else (0.0, False)
        if np.ptp(means) > 1e-12:
            found = t_interval(means, len(keys), extra, max(len(keys) - 1, 1), is_upper)
            return _with_seeds(found, differences)
    values = differences.mean(axis=0)
    if kind != "nats" and (
        np.count_nonzero(values) < SPARSE_CLUSTERS or np.ptp(values) < 1e-12 or len(keys) < 3
    ):
        found = combined(by_cluster(left.mean(axis=0), kind), by_cluster(right.mean(axis=0), kind))
    else:
        found = by_cluster(values, "nats")
    return _speaks_of(found, differences, False)


def _names(seeds: Iterable[int], found: Mapping[int, Clusters]) -> set[str]:
    return set.intersection(*(set(found[seed].values) for seed in seeds))


def _with_seeds(found: Interval, matrix: Array) -> Interval:
    """Return an interval with what single seeds and single clusters show; (seeds, clusters)."""
    means = tuple(float(mean) for mean in matrix.mean(axis=1)) if len(matrix) > 1 else ()
    spread = residual = math.nan
    seeds, clusters = matrix.shape
    if clusters > 1:
        spread = math.sqrt(float(matrix.var(axis=1, ddof=1).mean()))
    if clusters > 1 and seeds > 1:
        rest = matrix - matrix.mean(axis=1, keepdims=True) - matrix.mean(axis=0) + matrix.mean()
        residual = math.sqrt(float((rest**2).sum()) / ((seeds - 1) * (clusters - 1)))
    return found._replace(seed_means=means, cluster_sd=spread, residual_sd=residual)


def _speaks_of(found: Interval, matrix: Array, is_base: bool) -> Interval:
    covers = "this adapter" if len(matrix) == 1 else f"these {len(matrix)} adapters"
    return _with_seeds(found._replace(covers="this model" if is_base else covers), matrix)


def _noise(base: Clusters, keys: list[str]) -> tuple[float, bool]:
    """Return the sampling variance of the base's mean, and whether that is more than it is.

    Of one sample a query it is that over queries, which counts their differences too, though
    pairing removes them.
    """
    if base.noise is None:
        return 0.0, False
    noise = np.array([base.noise[key] for key in keys])
    if np.isnan(noise).any():
        values = np.array([base.values[key] for key in keys])
        if len(keys) < 2 or np.ptp(values) == 0:
            return 0.0, True
        return float(values.var(ddof=1) / len(keys)), True
    return float(noise.sum() / len(keys) ** 2), False
