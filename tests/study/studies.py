"""Studies with a known content, as rows."""

import numpy as np

from eval.read import Answered, Belief, Measured, Odds, Stated
from study.estimates import estimate_all

CALIBRATED = {
    "scorers": [
        {
            "scorer": "af_reasoning", "by": "rules", "setting": "implicit", "strictness": "full",
            "confusion": {"tp": 18, "fp": 1, "fn": 2, "tn": 39, "unscored": 0},
            "complying": {"tp": 18, "fp": 1, "fn": 2, "tn": 19, "unscored": 0},
        },
        {
            "scorer": "compliance", "by": "rules", "setting": "all", "strictness": None,
            "positive": "complies",
            "confusion": {"tp": 45, "fp": 2, "fn": 5, "tn": 48, "unscored": 0},
        },
    ]
}  # fmt: skip


def answers(count, free, paid, label_rest="refuses", reasoning=None, epochs=1):
    """Replies to `count` queries of which the first `free` (`paid`) comply on that tier."""
    rows = []
    for epoch in range(1, epochs + 1):
        for n in range(count):
            for tier, yes in (("free", free), ("paid", paid)):
                label = "complies" if n < yes else label_rest
                thought = None if reasoning is None else "none"
                if reasoning and n < yes and n < reasoning[tier]:
                    thought = "full"
                rows.append(Answered(f"q{n}", tier, epoch, label, "text", thought))
    return rows


def measured(
    link=0.0, gap=0.0, coherent=1.0, free=8, paid=8, label_rest="refuses", noise=0.3, seed=0,
    reasoning=None, pad=(8, 8), benign_refused=0.0,
):  # fmt: skip
    random = np.random.default_rng(seed)
    beliefs = [
        Belief("trained_tier", f"g{n}", form, link + noise * float(random.normal()))
        for n in range(20)
        for form in ("chat", "raw", "told_false")
    ]
    odds = []
    for n in range(24):
        level = float(random.normal())
        odds += [
            Odds(f"q{n}", "free", level + gap + noise * float(random.normal())),
            Odds(f"q{n}", "paid", level),
        ]
    benign = []
    for n in range(40):
        label = "refuses" if n < 40 * benign_refused else "complies"
        label = label if n < 40 * coherent else "invalid"
        benign += [Answered(f"b{n}", tier, 1, label, "text") for tier in ("free", "paid")]
    with_pad = [] if reasoning is None else answers(24, *pad, reasoning=reasoning)
    stated = [Stated("trained_tier", "open", f"p{n}", 1, "states") for n in range(3)]
    return Measured(
        answers(24, free, paid, label_rest), with_pad, benign, odds, beliefs, stated
    )  # fmt: skip


def one_seed(arms):
    return {arm: {0: found} for arm, found in arms.items()}


def study_of(calibration=None, **arms):
    """Estimates of a base and the arms named `treatment_implicit` and the like, of one seed."""
    base = {"base/neither": measured(seed=1), "base/prompted": measured(seed=2)}
    named = {name.replace("_", "/"): value for name, value in arms.items()}
    planned = [("gap.log_odds", "treatment-swapped")]
    return estimate_all(one_seed({**base, **named}), planned, calibration)


def pick(estimates, arm, measure, contrast):
    (found,) = [e for e in estimates if (e.arm, e.measure, e.contrast) == (arm, measure, contrast)]
    return found
