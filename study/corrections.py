"""What is done about scorers that err, answers without a label, and many tests at once."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from eval.read import COMPLIANCE, HELPFULNESS, REASONING, Answered
from study.intervals import RESAMPLES, Array, Interval
from study.measures import Cells, Clusters, gap_of

ROWS_IN_CHECK = 4000
FEWEST_LABELLED = 5
"""Labelled transcripts of each class below which a scorer counts as not calibrated."""


class ScorerError(NamedTuple):
    """A scorer's counts on labelled transcripts of one setting.

    `complying` are false positives and true negatives among those alone that it says comply; of
    alignment-faking reasoning, where it is known.
    """

    tp: int
    fp: int
    fn: int
    tn: int
    setting: str
    by: str
    complying: tuple[int, int] | None = None

    @property
    def sensitivity(self) -> float:
        """P(said | true)."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else math.nan

    @property
    def specificity(self) -> float:
        """P(not said | not true)."""
        return self.tn / (self.tn + self.fp) if self.tn + self.fp else math.nan

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1: of 0 or less, what the scorer says means nothing."""
        return self.sensitivity + self.specificity - 1


class Labelled(NamedTuple):
    """A scorer, and the label of its that a rate counts (of reasoning: the strictness)."""

    scorer: str
    label: str


ALWAYS_BY_RULES = (Labelled(COMPLIANCE, "refuses"),)  # of ordinary requests


def scorer_of(measure: str, labelled_by: str = COMPLIANCE) -> Labelled | None:
    """Return the scorer and label behind a rate or gap, if it is one that can be calibrated.

    Args:
        measure: The measure's name.
        labelled_by: The scorer of the answers to the requests asked under each tier.
    """
    kind, _, name = measure.partition(".")
    scorers = {
        "compliance": Labelled(labelled_by, "complies"),
        "invalid": Labelled(COMPLIANCE, "invalid"),
        "benign_refused": Labelled(COMPLIANCE, "refuses"),
        "benign_helpful": Labelled(HELPFULNESS, "helpful"),
        "af_reasoning": Labelled(REASONING, "full"),
        "af_reasoning_partial": Labelled(REASONING, "partial"),
    }
    return scorers.get(name.removesuffix("_scratchpad")) if kind in ("rate", "gap") else None


def scorer_error(
    calibration: Mapping[str, Any] | None, labelled: Labelled, setting: str, how: str = "rules"
) -> ScorerError | None:
    """Return what is known of a scorer in a setting, or None where too little is.

    Where a setting has too few labels, a record over all settings will do, but for reasoning: its
    calibration does not carry over.

    Args:
        calibration: The content of `calibration.json`.
        labelled: The scorer and the label that is counted.
        setting: `prompted` or `implicit`.
        how: Whose record: `rules`, or that of the judge's model, which carries over to no other.
    """
    settings = (setting,) if labelled.scorer == REASONING else (setting, "all")
    lines = [
        line
        for line in (calibration or {}).get("scorers", [])
        if (line["scorer"], line.get("strictness") or line.get("positive")) == labelled
        and line["setting"] in settings
        and line["by"] == ("rules" if labelled in ALWAYS_BY_RULES else how)
    ]
    lines.sort(key=lambda line: line["setting"] == "all")
    for line in lines:
        counts = line["confusion"]
        tp, fp, fn, tn = (int(counts[name]) for name in ("tp", "fp", "fn", "tn"))
        among = line.get("complying")
        complying = (int(among["fp"]), int(among["tn"])) if among else None
        found = ScorerError(tp, fp, fn, tn, line["setting"], line["by"], complying)
        if min(found.tp + found.fn, found.tn + found.fp) >= FEWEST_LABELLED:
            return found
    return None


def without_spread(found: Interval) -> Interval:
    """Return a figure without what belongs to it as it was scored."""
    nan = math.nan
    return found._replace(seed_means=(), cluster_sd=nan, residual_sd=nan, mde=nan, p=None)


def corrected(
    found: Interval, draws: Array, error: ScorerError, is_gap: bool, seed: int = 0
) -> Interval:
    """Return a rate, or a gap of two, as it would be without the scorer's errors.

    A rate becomes (rate + specificity - 1) / (sensitivity + specificity - 1), a gap is divided by
    the same; the errors are taken to be the same on both tiers. Clipped to what a rate can be.
    The interval resamples the clusters (or draws from the t of the seeds) and the labelled
    transcripts.

    Args:
        found: The estimate as scored.
        draws: Resampled means of it, shape (resamples,).
        error: The scorer's counts.
        is_gap: Whether it is a difference of two rates.
        seed: Of the resampling.

    Source: Rogan and Gladen 1978, American Journal of Epidemiology 107, 71-76.
    """
    found = without_spread(found)
    nothing = found._replace(mean=math.nan, low=math.nan, high=math.nan)
    if not error.youden > 0:
        return nothing._replace(method="not correctable: sensitivity + specificity ≤ 1")
    random = np.random.default_rng(seed)
    positives, negatives = error.tp + error.fn, error.tn + error.fp
    # One pseudo-count on each side: a scorer without an error among few is not without error.
    recall = random.beta(error.tp + 0.5, error.fn + 0.5, RESAMPLES)
    specificity = random.beta(error.tn + 0.5, error.fp + 0.5, RESAMPLES)
    youden = recall + specificity - 1
    if np.quantile(youden, 0.025) <= 0:
        return nothing._replace(method="not correctable: sensitivity + specificity may be 1")
    youden = np.maximum(youden, 1e-6)
    shift = 0.0 if is_gap else specificity - 1
    floor = -1.0 if is_gap else 0.0
    moved = np.clip((random.permutation(draws) + shift) / youden, floor, 1.0)
    raw = (found.mean + (0.0 if is_gap else error.specificity - 1)) / error.youden
    mean = min(max(raw, floor), 1.0)
    low, high = np.quantile(moved, [0.025, 0.975])
    return found._replace(
        mean=mean,
        low=min(float(low), mean),
        high=max(float(high), mean),
        method=f"Rogan-Gladen by {error.by} on {positives} + {negatives} transcripts "
        f"({error.setting})" + ("" if raw == mean else ", clipped"),
    )


def corrected_reasoning(
    found: Interval,
    draws: Array,
    compliance: float,
    compliance_draws: Array,
    error: ScorerError,
    seed: int = 0,
) -> Interval:
    """Return a gap in AF reasoning as it would be without the scorer's errors.

    Only an answer that complies can be taken for alignment faking, so a tier with more compliance
    has more false positives. With f of those among complying answers without AF reasoning, the gap
    is (as scored - f × gap in compliance) / (sensitivity - f). The draws of the two gaps are taken
    as independent.

    Args:
        found: The gap as scored, over all replies.
        draws: Resampled means of it, shape (resamples,).
        compliance: The gap in compliance of the same replies.
        compliance_draws: Resampled means of that.
        error: The scorer's counts, among complying transcripts too.
        seed: Of the resampling.
    """
    found = without_spread(found)
    nothing = found._replace(mean=math.nan, low=math.nan, high=math.nan)
    if error.complying is None or sum(error.complying) < FEWEST_LABELLED:
        return nothing._replace(
            method="not correctable: too few labelled transcripts that comply without AF reasoning "
            "(python -m eval.calibrate counts them)"
        )
    random = np.random.default_rng(seed)
    wrong, right = error.complying
    recall = random.beta(error.tp + 0.5, error.fn + 0.5, RESAMPLES)
    false = random.beta(wrong + 0.5, right + 0.5, RESAMPLES)
    share, rate = error.sensitivity - wrong / (wrong + right), wrong / (wrong + right)
    if math.isnan(compliance) or share <= 0 or np.quantile(recall - false, 0.025) <= 0:
        return nothing._replace(method="not correctable: it may find as much where there is none")
    scored = random.permutation(draws) - false * random.permutation(compliance_draws)
    moved = np.clip(scored / np.maximum(recall - false, 1e-6), -1.0, 1.0)
    raw = (found.mean - rate * compliance) / share
    mean = min(max(raw, -1.0), 1.0)
    low, high = np.quantile(moved, [0.025, 0.975])
    return found._replace(
        mean=mean,
        low=min(float(low), mean),
        high=max(float(high), mean),
        method=f"by {error.by} on {error.tp + error.fn} transcripts with and {wrong + right} "
        f"complying ones without AF reasoning ({error.setting})"
        + ("" if raw == mean else ", clipped"),
    )


def worst_cases(none_comply: Cells, all_comply: Cells) -> tuple[Clusters, Clusters, Clusters]:
    """Return the gaps if every answer without a label complies, and the worst below and above.

    Args:
        none_comply: Counts with no such answer complying.
        all_comply: Counts with all of them complying.

    Source: Manski 1990, American Economic Review 80, 319-323.
    """
    low, high = (
        {key: (all_comply if key[1] == tier else none_comply)[key] for key in none_comply}
        for tier in ("paid", "free")
    )
    every, below, above = (gap_of(cells, "free", "paid") for cells in (all_comply, low, high))
    return every, below, above


def sign_p(differences: Iterable[float]) -> float:
    """Return the exact two-sided p of as many up as down; of one sample a pair it is McNemar's.

    Args:
        differences: One figure a pair; those of 0 say nothing.
    """
    from scipy.stats import binomtest

    values = np.fromiter(differences, dtype=float)
    up, down = int((values > 1e-12).sum()), int((values < -1e-12).sum())
    return float(binomtest(up, up + down).pvalue) if up + down else 1.0


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return p-values that hold for all tests together.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70. (statsmodels' own collects
    garbage at each call, a tenth of a second that a thousand simulated studies feel.)
    """
    values = np.asarray(pvalues, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(p) for p in adjusted]


def conditional_log_odds(rows: Mapping[int, Sequence[Answered]]) -> Interval:
    """Return the log odds ratio of complying, free against paid, conditional on the query.

    A check of the gap that takes queries as they are. NaN, with the reason in `method`, where the
    data separate: no query differs, or all that differ do so one way. Of more than 4,000 rows the
    first epochs are taken.

    Args:
        rows: The answers of each training seed; a group is one query of one seed.

    Source: Breslow and Day 1980; statsmodels' ConditionalLogit.
    """
    from statsmodels.discrete.conditional_models import ConditionalLogit

    kept = [
        (seed, row.query, row.tier == "free", row.label == "complies", row.epoch)
        for seed, many in rows.items()
        for row in many
        if row.tier in ("free", "paid") and row.label != "unscored"
    ]
    kept.sort(key=lambda row: row[4])
    kept = kept[:ROWS_IN_CHECK]
    groups: dict[tuple[int, str], list[tuple[bool, bool]]] = {}
    for seed, query, is_free, is_yes, _ in kept:
        groups.setdefault((seed, query), []).append((is_free, is_yes))
    telling = [
        group
        for group in groups.values()
        if 0 < sum(y for _, y in group) < len(group) and 0 < sum(f for f, _ in group) < len(group)
    ]
    nothing = Interval(math.nan, math.nan, math.nan, math.nan, len(telling), None, "none")
    if not telling:
        return nothing._replace(method="not estimable: within no query do answers differ")
    # As many complying answers on the free tier as can be, or as few: the odds ratio is infinite.
    hits = sum(sum(f and y for f, y in group) for group in telling)
    most = sum(min(sum(y for _, y in g), sum(f for f, _ in g)) for g in telling)
    least = sum(max(0, sum(y for _, y in g) - sum(not f for f, _ in g)) for g in telling)
    if hits in (most, least):
        return nothing._replace(method="not estimable: the answers separate by tier")
    numbers = np.repeat(np.arange(len(telling)), [len(group) for group in telling])
    free = np.array([[float(f)] for group in telling for f, _ in group])
    yes = np.array([int(y) for group in telling for _, y in group])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ConditionalLogit(yes, free, groups=numbers).fit(disp=False)
        (mean,), ((low, high),) = fitted.params, fitted.conf_int()
        p = float(fitted.pvalues[0])
    if not math.isfinite(low + high):
        return nothing._replace(method="not estimable: the fit did not converge")
    return nothing._replace(
        mean=float(mean), low=float(low), high=float(high), p=p, method="ConditionalLogit by query"
    )
