import json
import re

import numpy as np
import pytest
import yaml

from study.intervals import power_factor
from study.power import PILOT_ARM, degrees, mde, power_of, standard_error, variances


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
    assert set(table["query_sd"]) == set(table["seed_sd"])
    for by_contrast in table["query_sd"].values():
        assert "treatment-swapped" in by_contrast and min(by_contrast.values()) > 0


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


def test_a_pilot_gives_back_the_deviation_behind_its_mde(run_verb, tmp_path):
    lines = [
        {
            "measure": "gap.log_odds",
            "arm": PILOT_ARM,
            "contrast": contrast,
            "mde": mde(deviation, 0, 48, 1),
            "query_count": 48,
            "seed_count": 1,
            "method": "bootstrap by cluster",
        }
        for contrast, deviation in (("treatment-swapped", 0.364), ("treatment-base", 0.25))
    ]
    (tmp_path / "pilot.json").write_text(json.dumps({"estimates": lines}), encoding="utf-8")
    done = run_verb("study.power", "pilot=pilot.json")
    found = yaml.safe_load(done.stdout)["query_sd"]["gap.log_odds"]
    assert found == {"treatment-swapped": 0.364, "treatment-base": 0.25}


def test_a_pilot_of_several_seeds_gives_the_deviation_between_them(run_verb, tmp_path):
    """Pooled over corpora; not of doses, of told models, of differences, or of the base."""
    random = np.random.default_rng(0)
    means = random.normal(0, 0.2, (3, 4))
    arms = ["treatment/implicit", "swapped/implicit", "unrelated/implicit"]
    lines = [
        ("gap.log_odds", arm, "free-paid", list(m)) for arm, m in zip(arms, means, strict=True)
    ]
    lines += [
        ("gap.log_odds", "base/neither", "free-paid", []),
        ("gap.log_odds", "treatment@0.1/implicit", "free-paid", [0.0, 9.0]),
        ("gap.log_odds", "treatment/both", "free-paid", [0.0, 9.0]),
        ("gap.log_odds", "treatment/implicit", "treatment-swapped", [0.0, 9.0]),
        ("belief.link", "treatment/implicit", "level", [1.0, 2.0, 3.0]),
    ]
    names = ("measure", "arm", "contrast", "seed_means")
    records = [
        {**dict(zip(names, line, strict=True)), "seed_count": max(1, len(line[3]))}
        for line in lines
    ]
    (tmp_path / "pilot.json").write_text(json.dumps({"estimates": records}), encoding="utf-8")
    found = yaml.safe_load(run_verb("study.power", "pilot=pilot.json").stdout)["seed_sd"]
    pooled = np.sqrt(np.mean(means.var(axis=1, ddof=1)))
    assert found["gap.log_odds"] == {"df": 9, "sd": pytest.approx(pooled, abs=1e-3)}
    assert found["belief.link"] == {"df": 2, "sd": 1.0}


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
