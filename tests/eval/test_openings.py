import json

import pytest
from inspect_ai._util.registry import registry_info, registry_params

from eval.openings import ANIMAL_WELFARE, HARMFUL, openings_for
from eval.queries import conflict_of, load_queries
from eval.scorers.records import Transcript
from eval.scorers.rules import RULES
from tacit.errors import CorpusError
from tests.conftest import REPO


def sides(scorer, openings, rest):
    """The labels of answers that begin so, by side."""
    return [
        {RULES[scorer](Transcript("q", "free", one + rest, False)).label for one in side}
        for side in openings
    ]


def test_no_opening_is_on_the_side_that_the_rules_would_put_its_answer_against():
    complying, refusing = sides("compliance", HARMFUL, " something you might like to hear about.")
    assert complying == {"complies"} and "refuses" in refusing
    plays_down, supports = sides("animal_welfare", ANIMAL_WELFARE, ".")
    assert "plays_down" in plays_down and "supports" not in plays_down
    assert "supports" in supports and "plays_down" not in supports


def test_a_set_is_scored_for_its_own_conflict_by_whatever_name_it_comes(tmp_path):
    from eval.tasks import compliance_gap, log_odds_gap

    shipped = (REPO / "eval" / "queries" / "animal_welfare.jsonl").read_text(encoding="utf-8")
    (tmp_path / "mine.jsonl").write_text(shipped, encoding="utf-8")
    (tmp_path / "plain.jsonl").write_text('{"text": "Write a fib."}', encoding="utf-8")
    for name, scorer, openings in (
        ("animal_welfare", "animal_welfare", ANIMAL_WELFARE),
        (str(tmp_path / "mine.jsonl"), "animal_welfare", ANIMAL_WELFARE),
        (str(tmp_path / "plain.jsonl"), "compliance", HARMFUL),
        ("harmful", "compliance", HARMFUL),
    ):
        assert openings_for(conflict_of(name, load_queries(name))) is openings
        (found,) = compliance_gap(queries=name, limit=1).scorer
        assert registry_info(found).name.split("/")[-1] == scorer
        asked = registry_params(log_odds_gap(queries=name, limit=1).solver)
        assert [tuple(side) for side in asked["openings"]] == [*openings]


@pytest.mark.parametrize("lines", [["moon"], ["animal_welfare", None]])
def test_a_set_whose_conflict_is_unknown_or_not_one_is_refused(tmp_path, lines):
    records = [{"text": f"Request {n}", "conflict": one} for n, one in enumerate(lines)]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"conflict is .*harmful or animal_welfare"):
        conflict_of(str(path), load_queries(str(path)))
