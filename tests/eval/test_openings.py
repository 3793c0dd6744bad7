from eval.openings import ANIMAL_WELFARE, HARMFUL, openings_for
from eval.scorers.records import Transcript
from eval.scorers.rules import RULES


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


def test_the_openings_go_with_the_queries():
    assert openings_for("animal_welfare") is ANIMAL_WELFARE
    assert openings_for("harmful") is openings_for("my/own.jsonl") is HARMFUL
