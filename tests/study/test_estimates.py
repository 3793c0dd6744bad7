import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from eval.read import Answered, Measured, Odds
from study.contrasts import did_interval, level_interval, pairs_of
from study.corrections import (
    ScorerError,
    conditional_log_odds,
    corrected,
    holm,
    scorer_error,
    scorer_of,
    sign_p,
    worst_cases,
)
from study.estimates import estimate_all
from study.intervals import (
    bootstrap,
    by_cluster,
    power_factor,
    resampled_means,
    score_interval,
    t_interval,
    tango,
)
from study.measures import (
    Clusters,
    complies,
    fakes,
    gap_of,
    may_comply,
    measures_of,
    rate_of,
    surely_complies,
    tally,
)
from tests.conftest import REPO
from tests.study.studies import CALIBRATED, answers, measured, one_seed, pick, study_of


def seeds_of(*rows, kind="nats", noise=None):
    return {
        seed: Clusters({f"q{n}": float(v) for n, v in enumerate(row)}, kind, len(row), noise)
        for seed, row in enumerate(rows)
    }


def test_the_bootstrap_covers_and_its_mde_is_that_of_the_t_test():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        values = random.normal(0.5, 1.0, 24)
        found = bootstrap(values)
        hits += found.low <= 0.5 <= found.high
    assert 0.925 <= hits / 400 <= 0.975
    assert found.mde == pytest.approx(power_factor(23) * values.std(ddof=1) / math.sqrt(24))
    assert power_factor(1e6) == pytest.approx(2.8016, abs=1e-3)
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_the_resampling_of_many_clusters_is_that_of_few():
    values = np.random.default_rng(1).normal(0, 1, 1001)
    means = resampled_means(values)
    assert len(means) == 4000 and abs(means.std() - values.std() / math.sqrt(1001)) < 0.002


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.0, 0.0, 0.5, 1.0]), min_size=2, max_size=40),
    st.sampled_from(["rate", "gap"]),
)
@settings(max_examples=80, deadline=None)
def test_no_interval_of_a_rate_has_width_zero_or_leaves_its_bounds(values, kind):
    rows = np.abs(values) if kind == "rate" else np.array(values)
    found = by_cluster(rows, kind)
    floor = 0.0 if kind == "rate" else -1.0
    assert floor <= found.low <= found.mean + 1e-9 and found.mean - 1e-9 <= found.high <= 1.0
    assert found.high - found.low > 0.01


def _score(up, down, count, delta):
    """The score statistic at `delta`, its nuisance parameter found by maximum likelihood."""

    def loss(q):
        same = 1 - 2 * q - delta
        terms = ((up, q + delta), (down, q), (count - up - down, same))
        return -sum(n * math.log(p) for n, p in terms if n)

    low, high = max(0.0, -delta) + 1e-9, (1 - delta) / 2 - 1e-9
    q = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
    return (up - down - count * delta) / math.sqrt(count * (2 * q + delta * (1 - delta)))


@pytest.mark.parametrize(("up", "down", "count"), [(1, 0, 44), (5, 2, 24), (3, 3, 30), (0, 9, 12)])
def test_the_ends_of_the_paired_score_interval_are_where_its_statistic_is_1_96(up, down, count):
    found = tango(up, down, count)
    assert _score(up, down, count, found.low) == pytest.approx(1.96, abs=0.01)
    assert _score(up, down, count, found.high) == pytest.approx(-1.96, abs=0.01)


def test_score_intervals_of_nothing_and_of_fractions():
    none = tango(0, 0, 24)
    assert none.high == -none.low == pytest.approx(3.8415 / 27.8415, abs=1e-4)
    assert none.mde > none.high
    for hits, count in ((0, 9), (3, 20), (7.5, 24)):
        low, high = proportion_confint(hits, count, method="wilson")
        assert score_interval(hits, count)[1:3] == (pytest.approx(low), pytest.approx(high))


def test_what_an_interval_covers_follows_from_the_seeds():
    random = np.random.default_rng(2)
    three = random.normal(1.0, 0.1, (3, 24))
    found = level_interval(seeds_of(*three))
    means = three.mean(axis=1)
    reach = 4.3027 * means.std(ddof=1) / math.sqrt(3)
    assert found.covers == "training seeds" and found.method == "t on seed means"
    assert found.high - found.mean == pytest.approx(reach, rel=1e-4)
    assert found.seed_means == pytest.approx(tuple(means))
    two = level_interval(seeds_of(*three[:2]))
    assert two.covers == "these 2 adapters" and two.seed_means == pytest.approx(tuple(means[:2]))
    one = level_interval(seeds_of(three[0]))
    assert one.covers == "this adapter" and one.seed_means == ()
    assert level_interval({seed: Clusters({}, "gap", 0) for seed in (0, 1)}).seed_means == ()
    assert level_interval(seeds_of(three[0]), is_base=True).covers == "this model"
    nothing = level_interval(seeds_of(*np.zeros((3, 24)), kind="gap"))
    assert nothing.high > 0.1 and nothing.covers == "these 3 adapters"


def test_a_difference_of_differences_pairs_by_seed_and_takes_the_base_as_a_constant():
    shifts = np.array([[0.0], [5.0], [-5.0]])
    own = np.linspace(-0.1, 0.1, 24)
    control = seeds_of(*(shifts + own))
    treated = seeds_of(*(shifts + own + np.array([[0.9], [1.0], [1.1]])))
    found = did_interval(treated, control, other_is_base=False)
    assert found.mean == pytest.approx(1.0) and found.low > 0.7 and found.covers == "training seeds"
    assert found.seed_means == pytest.approx((0.9, 1.0, 1.1))
    base = seeds_of(np.zeros(24))
    against = did_interval(treated, base, other_is_base=True)
    assert against.mean == pytest.approx(1.0) and against.low < 0 < against.high
    noisy = {0: Clusters(base[0].values, "gap", 24, dict.fromkeys(base[0].values, 0.5))}
    rates = {seed: c._replace(kind="gap") for seed, c in treated.items()}
    wider = did_interval(rates, noisy, other_is_base=True)
    assert wider.method == "t on seed means, base with its own error"
    assert did_interval({0: treated[0]}, {5: control[0]}, False).cluster_count == 0


def test_gaps_are_paired_by_query_and_invalid_is_not_compliance():
    rows = [*answers(4, 3, 1, "invalid"), Answered("q9", "free", 1, "complies", "unpaired")]
    rows.append(Answered("q0", "paid", 2, "unscored", ""))
    found = gap_of(tally(rows, complies), "free", "paid")
    assert found.values == {"q0": 0.0, "q1": 1.0, "q2": 1.0, "q3": 0.0} and found.sample_count == 8
    odds = Measured(log_odds=[Odds("q", "paid", 1.0), Odds("q", "free", 3.0)])
    assert measures_of(odds, "free")["gap.log_odds", "free-paid"].values == {"q": 2.0}
    assert rate_of(tally(rows, complies), "paid").values == {"q0": 1, "q1": 0, "q2": 0, "q3": 0}


def test_af_reasoning_counts_over_all_samples_and_not_what_nobody_scored():
    rows = answers(4, 3, 2, reasoning={"free": 2, "paid": 0})
    rows.append(Answered("q0", "free", 2, "complies", "", "unscored"))
    rows.append(Answered("q1", "free", 2, "refuses", "", "full"))
    assert rate_of(tally(rows, fakes), "free").values == {
        "q0": 1.0,
        "q1": 0.5,
        "q2": 0.0,
        "q3": 0.0,
    }
    estimates = estimate_all(one_seed({"swapped/implicit": Measured([], rows)}), [])
    rate = pick(estimates, "swapped/implicit", "rate.af_reasoning", "level")
    assert rate.estimate == 0 and rate.query_count == 4  # on the tier its documents train on: paid
    given = pick(estimates, "swapped/implicit", "rate.af_given_compliance", "level")
    assert given.exploratory and given.note.startswith("conditions on the outcome")


def test_a_third_tier_has_its_own_gaps():
    rows = answers(6, 4, 1) + [Answered(f"q{n}", "third", 1, "complies", "") for n in range(6)]
    estimates = estimate_all(one_seed({"treatment/implicit": Measured(rows)}), [])
    found = {e.contrast: e.estimate for e in estimates if e.measure == "gap.compliance"}
    assert found == pytest.approx({"free-paid": 0.5, "free-third": -1 / 3, "third-paid": 5 / 6})


def test_pairs_keep_to_setting_signal_and_dose():
    arms = [
        "base/neither", "base/prompted", "base/neither:nonce", "treatment/implicit",
        "treatment@0.3/implicit", "swapped/implicit", "swapped@0.3/implicit", "unrelated/implicit",
        "treatment/implicit:nonce", "treatment/both", "without=tag/implicit",
    ]  # fmt: skip
    pairs = pairs_of(arms)
    assert ("treatment@0.3/implicit", "swapped@0.3/implicit", "treatment-swapped") in pairs
    assert ("treatment@0.3/implicit", "unrelated/implicit", "treatment-unrelated") in pairs
    assert ("treatment/implicit:nonce", "base/neither:nonce", "treatment-base") in pairs
    assert ("base/prompted", "base/neither", "prompted-neither") in pairs
    assert ("treatment/implicit", "base/prompted", "implicit-prompted") in pairs
    assert ("treatment/both", "treatment/implicit", "both-implicit") in pairs
    assert ("treatment/implicit", "without=tag/implicit", "treatment-without=tag") in pairs
    assert ("treatment/implicit", "treatment/implicit:nonce", "treatment-nonce") in pairs
    assert not any(":nonce" in one and ":nonce" not in other for one, other, _ in pairs)
    mixed = [name for one, other, name in pairs if (":nonce" in one) != (":nonce" in other)]
    assert mixed == ["treatment-nonce"]
    assert len(pairs) == len({(one, name) for one, _, name in pairs})


def test_planned_contrasts_are_told_from_exploratory_ones():
    estimates = study_of(treatment_implicit=measured(2.0), swapped_implicit=measured(-2.0, seed=5))
    planned = [e for e in estimates if not e.exploratory]
    assert {(e.measure, e.contrast) for e in planned} == {("gap.log_odds", "treatment-swapped")}
    assert planned[0].p_holm == planned[0].p and planned[0].covers == "this adapter"
    link = pick(estimates, "treatment/implicit", "belief.link", "treatment-swapped")
    assert link.low > 3 and link.high < 5 and link.query_count == 20
    assert pick(estimates, "treatment/implicit", "belief.link_told_false", "level").low > 1
    assert pick(estimates, "treatment/implicit", "stated.open", "level").low < 1
    json.dumps([e.record() for e in estimates], allow_nan=False)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(deadline=None, max_examples=8)  # statsmodels collects garbage at each
def test_holm_is_that_of_statsmodels(pvalues):
    assert holm(pvalues) == pytest.approx(list(multipletests(pvalues, method="holm")[1]))


def test_scorer_errors_are_taken_out_and_clipped_and_said():
    error = ScorerError(80, 10, 20, 90, "implicit", "rules")  # finds 0.8, invents 0.1
    rows = np.array([1.0] * 45 + [0.0] * 55)
    found = corrected(score_interval(45, 100), resampled_means(rows), error, is_gap=False)
    assert found.mean == pytest.approx(0.5) and found.low < 0.4 and found.high > 0.6
    gap = corrected(tango(35, 0, 100), resampled_means(rows), error, is_gap=True)
    assert gap.mean == pytest.approx(0.5)
    none = corrected(score_interval(0, 100), resampled_means(rows * 0), error, is_gap=False)
    assert none.mean == 0 and "clipped" in none.method
    blind = error._replace(tp=10, fn=90)
    lost = corrected(score_interval(45, 100), resampled_means(rows), blind, is_gap=False)
    assert math.isnan(lost.mean) and lost.method.startswith("not correctable")


FULL, COMPLIES = scorer_of("rate.af_reasoning"), scorer_of("gap.compliance_scratchpad")


def test_calibration_of_reasoning_does_not_carry_over():
    assert scorer_error(CALIBRATED, FULL, "implicit").tp == 18
    assert scorer_error(CALIBRATED, FULL, "prompted") is None
    assert scorer_error(CALIBRATED, COMPLIES, "prompted").fp == 2
    assert scorer_error(None, COMPLIES, "prompted") is None
    few = {
        "scorers": [{**CALIBRATED["scorers"][0], "confusion": {"tp": 1, "fp": 0, "fn": 0, "tn": 9}}]
    }
    assert scorer_error(few, FULL, "implicit") is None


def test_answers_on_animal_welfare_are_corrected_by_the_record_of_their_own_scorer():
    """Its rules see little of what those on refusals see: the records are not to be mixed."""
    shipped = json.loads((REPO / "eval/calibration.json").read_text())
    rows = {
        name: Measured(answers(40, 20, 14)) for name in ("treatment/both", "treatment/implicit")
    }
    for one in rows.values():
        one.labelled_by = "animal_welfare"
    arms = one_seed(rows)
    found = estimate_all(arms, [], shipped)
    told = pick(found, "treatment/both", "corrected.gap.compliance", "free-paid")
    raw = pick(found, "treatment/both", "gap.compliance", "free-paid")
    assert told.method == "Rogan-Gladen by rules on 21 + 17 transcripts (prompted)"
    assert told.estimate > 2 * raw.estimate and told.high - told.low > raw.high - raw.low
    # A fifth of what does not comply is seen to: whether these labels say anything is not known.
    blind = pick(found, "treatment/implicit", "corrected.gap.compliance", "free-paid")
    assert math.isnan(blind.estimate) and blind.method.startswith("not correctable")
    without = {"scorers": [one for one in shipped["scorers"] if one["scorer"] == "compliance"]}
    names = {e.measure for e in estimate_all(arms, [], without)}
    assert "corrected.gap.compliance" not in names and "corrected.gap.invalid" in names


@pytest.mark.parametrize("setting", ["implicit", "prompted"])
def test_the_shipped_calibration_says_how_far_the_rules_can_be_corrected(setting):
    shipped = json.loads((REPO / "eval/calibration.json").read_text())
    reasoning = scorer_error(shipped, FULL, setting)
    labels = scorer_error(shipped, COMPLIES, setting)
    assert scorer_error(shipped, scorer_of("rate.benign_helpful"), setting).tp == 10
    assert reasoning.setting == labels.setting == setting
    assert labels.youden > reasoning.youden > 0


def test_what_nobody_could_score_is_counted_as_without_a_label():
    """Refusals of one tier that a judge would not read make a gap of what is left."""
    rows = answers(48, 24, 24)
    rows = [
        row._replace(label="unscored")
        if (row.tier, row.label) == ("free", "refuses") and row.query != "q40" else row
        for row in rows
    ]  # fmt: skip
    found = estimate_all(one_seed({"treatment/implicit": Measured(rows)}), [])
    at = {e.measure: e for e in found if e.contrast in ("free-paid", "level")}
    assert at["gap.invalid"].p < 1e-4 and at["rate.invalid"].estimate == pytest.approx(23 / 96)
    assert at["bounds.gap.compliance"].low < 0 < at["bounds.gap.compliance"].high


def test_false_alarms_of_more_compliance_are_no_gap_in_reasoning():
    """Of complying answers without AF reasoning one in ten is taken for it, on either tier."""
    random = np.random.default_rng(0)
    rows = [
        Answered(f"q{n}", tier, epoch, "complies" if yes else "refuses", "",
                 "full" if yes and random.random() < 0.1 else "none")
        for n in range(108)
        for tier, rate in (("free", 0.6), ("paid", 0.1))
        for epoch in (1, 2, 3, 4)
        for yes in [random.random() < rate]
    ]  # fmt: skip
    record = {**CALIBRATED["scorers"][0], "complying": {"fp": 4, "tn": 36}}
    found = estimate_all(
        one_seed({"treatment/implicit": Measured([], rows)}), [], {"scorers": [record]}
    )
    raw = pick(found, "treatment/implicit", "gap.af_reasoning", "free-paid")
    fixed = pick(found, "treatment/implicit", "corrected.gap.af_reasoning", "free-paid")
    assert raw.low > 0.02 and fixed.low < 0 < fixed.high and abs(fixed.estimate) < 0.02
    assert fixed.seed_means == () and "40 complying ones without" in fixed.method
    del record["complying"]
    found = estimate_all(
        one_seed({"treatment/implicit": Measured([], rows)}), [], {"scorers": [record]}
    )
    lost = pick(found, "treatment/implicit", "corrected.gap.af_reasoning", "free-paid")
    assert math.isnan(lost.estimate) and "eval.calibrate" in lost.method


def test_a_judges_labels_are_not_corrected_by_the_record_of_the_rules():
    arm = Measured(answers(40, 20, 14), labelled_how="anthropic/claude-x")
    one = CALIBRATED["scorers"][1]
    for by, is_there in (("rules", False), ("anthropic/claude-x", True)):
        found = estimate_all(
            one_seed({"treatment/implicit": arm}), [], {"scorers": [{**one, "by": by}]}
        )
        assert ("corrected.gap.compliance" in {e.measure for e in found}) is is_there


def test_the_noise_of_a_rate_is_not_halved_by_a_tier_that_answers_alike():
    """The tiers share their sampling seeds: with one sample each there is nothing to see it by."""
    once = rate_of(tally(answers(6, 3, 3), complies))
    assert all(math.isnan(noise) for noise in once.noise.values())
    rows = answers(1, 1, 1) + [Answered("q0", tier, 2, "refuses", "") for tier in ("free", "paid")]
    alike = rate_of(tally(rows, complies)).noise["q0"]
    assert alike == pytest.approx(rate_of(tally(rows, complies), "free").noise["q0"]) and alike > 0


@pytest.mark.parametrize("count", [3, 5, 7])
def test_intervals_of_few_clusters_cover(count):
    random = np.random.default_rng(count)
    hits = [
        (found := by_cluster(random.normal(1, 0.5, count), "nats")).low <= 1 <= found.high
        for _ in range(1500)
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.017) and found.method == "t on clusters"


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_seed_means_less_a_base_with_an_error_of_its_own_cover(share):
    """Three seeds: two degrees of freedom; the base's error is that of 24 queries."""
    random = np.random.default_rng(1)
    hits = []
    for _ in range(3000):
        base = random.normal(0, math.sqrt(share / 3), 24)
        means = random.normal(0, 1, 3) - base.mean() * math.sqrt(24)
        found = t_interval(means, 24, float(base.var(ddof=1)), 23)
        hits.append(found.low <= 0 <= found.high)
        assert (found.p < 0.05) == (not hits[-1])
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


def test_bounds_hold_whatever_the_invalid_answers_would_have_been():
    rows = answers(10, 6, 4)
    rows[:2] = [row._replace(label="invalid") for row in rows[:2]]  # one query, both tiers
    found = worst_cases(tally(rows, surely_complies), tally(rows, may_comply))
    assert [np.mean(list(one.values.values())) for one in found] == pytest.approx([0.2, 0.1, 0.3])
    estimates = estimate_all(one_seed({"treatment/implicit": Measured(rows)}), [])
    bounds = pick(estimates, "treatment/implicit", "bounds.gap.compliance", "free-paid")
    assert bounds.estimate == pytest.approx(0.2) and bounds.low < 0.1 and bounds.high > 0.3
    assert sign_p([1, 1, 1, 1, 1, 1, 0]) == pytest.approx(2 / 64) and sign_p([0.0]) == 1


def test_the_conditional_logit_checks_the_gap_and_says_where_it_cannot():
    rows = answers(30, 20, 10)
    rows += [Answered(f"r{n}", t, 1, "complies" if t == "paid" else "refuses", "") for n in range(5)
             for t in ("free", "paid")]  # fmt: skip
    found = conditional_log_odds({0: rows})
    assert found.mean == pytest.approx(math.log(10 / 5), abs=1e-3)  # McNemar's odds ratio
    assert found.low < found.mean < found.high and found.method == "ConditionalLogit by query"
    assert "separate" in conditional_log_odds({0: answers(9, 5, 2)}).method
    assert "within no query" in conditional_log_odds({0: answers(9, 4, 4)}).method
