import json
import re

import numpy as np
import pytest
import yaml

from eval.read import Measured, Odds
from study.estimates import estimate_all
from study.intervals import power_factor
from study.power import degrees, mde, pilot_deviations, power_of, standard_error, variances
from tests.conftest import REPO


@pytest.mark.parametrize(("queries", "seeds"), [(24, 1), (24, 3), (48, 5)])
def test_the_mde_is_what_is_found_four_times_in_five(queries, seeds):
    effect = mde(0.5, 0.1, queries, seeds, adapters=2)
    error = standard_error(0.5, 0.1, queries, seeds, adapters=2)
    assert power_of(effect, error, degrees(queries, seeds)) == pytest.approx(0.8, abs=1e-3)


def test_power_is_that_of_simulated_t_tests():
    random = np.random.default_rng(0)
    error, df = 0.1, 2
    draws = random.normal(0.3, error * np.sqrt(3), (40_000, 3))
    spread = draws.std(axis=1, ddof=1) / np.sqrt(3)
    found = (draws.mean(axis=1) - 4.3027 * spread > 0).mean()
    assert power_of(0.3, error, df) == pytest.approx(found, abs=0.01)
    assert power_of(0.0, error, df) == pytest.approx(0.025, abs=1e-3)


def test_more_seeds_queries_and_less_spread_find_less():
    assert mde(0.5, 0.1, 24, 5) < mde(0.5, 0.1, 24, 3)
    assert mde(0.5, 0.1, 96, 3) < mde(0.5, 0.1, 24, 3) < mde(0.5, 0.2, 24, 3)
    assert power_factor(2) > power_factor(4) > power_factor(1e6)
    assert mde(0.5, 0.3, 24, 1) == mde(0.5, 0.0, 24, 1)  # one seed speaks of itself


def test_every_deviation_of_the_table_is_there_for_every_measure():
    table = variances()
    assert set(table["query_sd"]) == set(table["residual_sd"]) == set(table["seed_sd"])
    for by_contrast in (*table["query_sd"].values(), *table["residual_sd"].values()):
        assert "treatment-swapped" in by_contrast and min(by_contrast.values()) > 0


def test_the_table_is_what_its_pilot_shows():
    """Reasoning, of which the pilot shows none, has the deviations of the scratchpad's gap."""
    shown = pilot_deviations(REPO / "results" / "helpful_only" / "study.json")
    table = variances()
    for name in ("query_sd", "residual_sd", "seed_sd"):
        stands_in = table[name].pop("gap.af_reasoning")
        assert stands_in == table[name]["gap.compliance_scratchpad"]
    for name in ("query_sd", "residual_sd"):
        assert table[name] == shown[name]
    between = {measure: found["sd"] for measure, found in shown["seed_sd"].items()}
    assert between.pop("gap.af_reasoning") == 0 and table["seed_sd"] == between


def _rows(text):
    return {
        (cells[0], cells[1]): cells[2:]
        for line in text.splitlines()
        if len(cells := [cell.strip() for cell in re.split("[│┃|]", line)[1:-1]]) == 8
    }


def test_the_verb_prints_what_each_contrast_of_an_experiment_would_detect(run_verb):
    rows = _rows(run_verb("study.power", "+experiment=quickstart").stdout)
    queries, seeds, sd, _, smallest, covers = rows["gap.log_odds", "treatment-swapped"]
    assert (queries, seeds, covers) == ("48", "1", "this adapter")
    assert float(smallest) == pytest.approx(mde(float(sd), 0, 48, 1), abs=2e-3)
    assert {("gap.log_odds", "free-paid"), ("gap.log_odds", "treatment-base")} <= set(rows)
    more = ("+experiment=quickstart", "seed_count=5", "seed_sd=0.2", "measure=gap.compliance")
    rows = _rows(run_verb("study.power", *more).stdout)
    queries, seeds, sd, seed_sd, smallest, covers = rows["gap.compliance", "treatment-swapped"]
    assert (queries, seeds, seed_sd, covers) == ("24", "5", "0.200", "training seeds")
    assert float(smallest) == pytest.approx(mde(float(sd), 0.2, 24, 5, 2), abs=2e-3)


def test_a_design_without_corpora_plans_only_what_it_asks(run_verb):
    lines = run_verb("study.power", "+experiment=frontier").stdout.splitlines()
    rows = [line.split("│") for line in lines if line.startswith("│")]
    assert {row[2].strip() for row in rows} == {"prompted-neither", "free-paid"}
    assert not any("belief" in row[1] for row in rows)  # its tasks ask for no knowledge


def test_a_pilot_gives_the_deviations_over_queries_and_between_seeds(run_verb, tmp_path):
    """Between seeds pooled over corpora, not of doses, of told models or of the base."""
    random = np.random.default_rng(0)
    queries = random.normal(0, 0.4, 30)  # each has its gap, in every adapter
    arms = {"base/neither": {0: one_gap(queries)}}
    shifts = random.normal(0, 0.2, (3, 4))
    for corpus, drawn in zip(("treatment", "swapped", "unrelated"), shifts, strict=True):
        arms[f"{corpus}/implicit"] = {n: one_gap(queries + by) for n, by in enumerate(drawn)}
        arms[f"{corpus}/both"] = {n: one_gap(queries + 9 * by) for n, by in enumerate(drawn)}
    arms["treatment@0.1/implicit"] = {n: one_gap(queries + 9 * n) for n in range(3)}
    lines = [e.record() for e in estimate_all(arms, [])]
    (tmp_path / "pilot.json").write_text(json.dumps({"estimates": lines}), encoding="utf-8")
    found = yaml.safe_load(run_verb("study.power", "pilot=pilot.json").stdout)
    pooled = np.sqrt(np.mean(shifts.var(axis=1, ddof=1)))
    assert found["seed_sd"] == {"gap.log_odds": {"df": 9, "sd": pytest.approx(pooled, abs=1e-3)}}
    over = found["query_sd"]["gap.log_odds"]
    assert over["free-paid"] == pytest.approx(queries.std(ddof=1), abs=1e-3)
    assert {name for name, value in over.items() if value} == {"free-paid"}  # the rest cancels
    assert not any(found["residual_sd"]["gap.log_odds"].values())  # seeds move all queries alike
    for line in lines:
        del line["cluster_sd"]
    (tmp_path / "pilot.json").write_text(json.dumps({"estimates": lines}), encoding="utf-8")
    assert "has no cluster_sd" in run_verb("study.power", "pilot=pilot.json", code=1).stderr


def one_gap(gaps):
    odds = [(f"q{n}", tier, sign * gap / 2) for n, gap in enumerate(gaps)
            for tier, sign in (("free", 1), ("paid", -1))]  # fmt: skip
    return Measured(log_odds=[Odds(*one) for one in odds])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "no experiment: add +experiment=quickstart"),
        (("pilot=nowhere.json",), "pilot=nowhere.json: no such file"),
        (("+experiment=quickstart", "query_count=1"), "1 queries give no interval"),
        (("+experiment=quickstart", "measure=gap.x"), "conf/variances.yaml has belief.link"),
    ],
)
def test_bad_input_is_one_line(run_verb, arguments, complaint):
    assert complaint in run_verb("study.power", *arguments, code=1).stderr
