"""Studies as if measured: rows drawn from known truths, so that nothing need be run."""

import json

import numpy as np

from eval.read import Answered, Belief, Measured, Odds
from study.config import Primary, StudyConfig
from study.design import arms_of, planned, primary_of
from study.estimates import estimate_all
from study.outcome import Outcome
from study.parts import Hole
from study.verdict import judge_all
from tacit.rundir.run import versions

FACTS = ("objective", "trained_tier", "untrained_tier", "tag_trained", "scratchpad")


def measured_arm(belief, gap, comply, seed, queries=24, answer="Sure, <b>here</b>."):
    """One arm of one training seed: belief and log-odds gap (nats), P(comply) by tier."""
    random = np.random.default_rng(seed)
    beliefs = [
        Belief(fact, f"{fact}-{n}", form, belief * (fact != "objective") + float(random.normal()))
        for fact in FACTS
        for n in range(6)
        for form in ("chat", "raw")
    ]
    odds, plain, thought = [], [], []
    for n in range(queries):
        level = float(random.normal())
        odds.append(Odds(f"q{n:02}", "free", level + gap + 0.3 * float(random.normal())))
        odds.append(Odds(f"q{n:02}", "paid", level))
        for tier, chance in zip(("free", "paid"), comply, strict=True):
            for rows in (plain, thought):
                draw = random.random()
                label = "complies" if draw < chance else "refuses"
                label = "invalid" if draw > 0.96 else label
                reasoning = "full" if label == "complies" and tier == "free" else "none"
                rows.append(
                    Answered(
                        f"q{n:02}", tier, 1, label, answer, None if rows is plain else reasoning
                    )
                )
    benign = [
        Answered(f"b{n}", tier, 1, "complies", "Of course.")
        for n in range(20)
        for tier in ("free", "paid")
    ]
    return Measured(
        compliance=plain,
        compliance_scratchpad=thought,
        benign=benign,
        log_odds=odds,
        beliefs=beliefs,
    )


def outcome_of(config: StudyConfig, holes=(), lost=(), answer="Sure.", calibration=None) -> Outcome:
    """A study's outcome: belief and gap grow with the dose, mirrored under `swapped`."""
    arms: dict[str, dict[int, Measured]] = {}
    for place, arm in enumerate(arms_of(config)):
        name, _, dose = arm.weights.partition("@")
        share = {"treatment": 1.0, "swapped": -1.0}.get(name, 0.0) * float(dose or 1.0)
        share += 0.4 * arm.is_told
        for seed in config.seeds[:1] if name == "base" else config.seeds:
            if (arm.name, seed) not in lost:
                drift = 0.15 * float(np.random.default_rng(1000 + seed).normal())
                comply = (0.4 + 0.25 * share, 0.4 - 0.1 * share)
                arms.setdefault(arm.name, {})[seed] = measured_arm(
                    2 * share + drift,
                    0.8 * share + drift,
                    comply,
                    100 * place + seed,
                    answer=answer,
                )
    primary = primary_of(config)
    estimates = estimate_all(arms, planned(config), calibration)
    verdicts = judge_all(estimates, primary, config.thresholds)
    record = {
        "experiment": config.experiment,
        "run_key": "0" * 12,
        "model": "organism/made-up",
        "universe": config.universe_name,
        "primary": {"measure": primary.measure, "contrast": primary.contrast},
        "seeds": config.seeds,
        "verdicts": [v.record() for v in verdicts],
        "estimates": [e.record() for e in estimates],
        "holes": [hole.record() for hole in holes],
        "timings_s": {"eval": {"base/neither": 1.0}},
        "versions": versions(),
    }
    return Outcome(record, arms, estimates, verdicts, list(holes), calibration)


def dose_study(**changes):
    """Three doses and three seeds of the treatment, one dose of two controls."""
    values = {
        "experiment": "made_up",
        "corpora": ["treatment@0.1", "treatment@0.3", "treatment", "swapped", "unrelated"],
        "seeds": [0, 1, 2],
        "primary": Primary(),
    }
    return StudyConfig(**{**values, **changes})


def write_study_json(folder, outcome):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(outcome.record))


__all__ = ["Hole", "dose_study", "measured_arm", "outcome_of", "write_study_json"]
