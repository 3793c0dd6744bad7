"""How far two labellings agree: kappa and AUROC, each with a 95 % interval.

The plain bootstrap gives an interval of width 0 where a sample happens to show no error, however
small it is. None of the intervals here does.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float, float]
NOTHING: Interval = (float("nan"), float("nan"), float("nan"))
Booleans = NDArray[np.bool_]
Floats = NDArray[np.float64]


def kappa(first: Sequence[object], second: Sequence[object]) -> float:
    """Return the agreement of two labellings beyond chance, -1 to 1; NaN where chance is 1.

    Source: Cohen 1960.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(names), len(names)))
    for one, other in zip(first, second, strict=True):
        table[names[one], names[other]] += 1
    return _kappa_of(table)


def _kappa_of(table: Floats) -> float:
    count = table.sum()
    if not count:
        return float("nan")
    observed = np.trace(table) / count
    expected = float((table.sum(0) * table.sum(1)).sum()) / count**2
    return float("nan") if expected == 1 else float((observed - expected) / (1 - expected))


def auroc(truth: Booleans, value: Floats) -> float:
    """Return P(a positive's value exceeds a negative's), ties half; NaN where one is missing.

    Source: Mann and Whitney 1947, by ranks.
    """
    from scipy.stats import rankdata

    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    ranks = float(rankdata(value)[truth].sum())
    return (ranks - positive * (positive + 1) / 2) / (positive * negative)


def kappa_interval(
    first: Sequence[object], second: Sequence[object], resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return kappa with the percentiles 2.5 and 97.5 of its Bayesian bootstrap over transcripts.

    Cells of the table get a prior weight of two transcripts between them, so that a cell that is
    empty by luck does not count as impossible. Source: Rubin 1981.
    """
    point = kappa(first, second)
    if np.isnan(point):
        return NOTHING
    names = {name: number for number, name in enumerate(dict.fromkeys([*first, *second]))}
    size = len(names)
    counts = np.zeros((size, size))
    for one, other in zip(first, second, strict=True):
        counts[names[one], names[other]] += 1
    drawn = np.random.default_rng(seed).dirichlet((counts + 2 / size**2).ravel(), resamples)
    values = [_kappa_of(table.reshape(size, size)) for table in drawn]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return point, min(float(low), point), max(float(high), point)


def auroc_interval(truth: Sequence[bool], value: Sequence[float]) -> Interval:
    """Return AUROC with a score interval. Source: Newcombe 2006, method 5 (of Hanley-McNeil)."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    labels, values = np.array(truth, dtype=bool), np.array(value, dtype=float)
    point = auroc(labels, values)
    if np.isnan(point):
        return NOTHING
    positive, negative = int(labels.sum()), int((~labels).sum())
    half, z = (positive + negative) / 2 - 1, float(norm.ppf(0.975))

    def excess(area: float) -> float:
        spread = 1 + half * ((1 - area) / (2 - area) + area / (1 + area))
        return (area - point) ** 2 - z**2 * area * (1 - area) * spread / (positive * negative)

    tiny = 1e-9
    low = brentq(excess, 0, point - tiny) if point > tiny else 0.0
    high = brentq(excess, point + tiny, 1) if point < 1 - tiny else 1.0
    return point, float(low), float(high)
