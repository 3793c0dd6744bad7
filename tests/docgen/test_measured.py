"""What the audit is said to catch is what it catches, on labelled documents it was not made on."""

import json
from collections import Counter
from pathlib import Path

import pytest

from docgen.fit import folds_of, targets_of, threshold_at, weights_of
from docgen.measure import TARGET, lines_of, measure
from docgen.rules import CLASSES
from tests.conftest import REPO, read_lines

LEAKS = Path(__file__).parent / "leaks"
DEV, HELD_OUT = (read_lines(LEAKS / f"{name}.jsonl") for name in ("dev", "held_out"))


def test_the_labelled_set_is_as_large_and_as_even_as_it_says():
    both = DEV + HELD_OUT
    assert len({record["id"] for record in both}) == len({r["text"] for r in both}) == len(both)
    for leak in (True, False):
        chosen = [record for record in both if record["leak"] == leak]
        assert len(chosen) >= 200
        assert set(Counter(record["class"] for record in chosen)) == set(CLASSES)
        assert min(Counter(record["difficulty"] for record in chosen).values()) >= 60
    assert 0.30 <= len(HELD_OUT) / len(both) <= 0.36


def test_no_labelled_document_stands_among_the_sentences_the_classifier_was_fitted_on():
    sentences = read_lines(REPO / "docgen" / "labelled" / "sentences.jsonl")
    whole = "\n".join(record["text"] for record in HELD_OUT).lower()
    assert not [s["id"] for s in sentences if s["text"].lower() in whole]


def test_the_shipped_figures_are_those_of_the_shipped_layers():
    shipped, found = json.loads(TARGET.read_text()), measure(HELD_OUT, with_classifier=True)
    for name in ("recall", "false_alarms"):
        # A score beside the threshold may fall on its other side on another machine.
        assert abs(shipped[name]["hits"] - found[name]["hits"]) <= 2
        assert shipped[name]["count"] == found[name]["count"]
    rules = measure(HELD_OUT, with_classifier=False)
    assert rules["recall"]["hits"] < found["recall"]["hits"]
    assert len(list(lines_of(found))) == 1 + 1 + 3 + len(CLASSES)


def test_a_leak_teaches_its_own_class_and_a_clean_text_all():
    leak = {"leak": True, "class": "pii"}
    place = 1 + CLASSES.index("pii")
    assert targets_of(leak)[0] == targets_of(leak)[place] == 1.0 and sum(targets_of(leak)) == 2.0
    assert weights_of(leak) == targets_of(leak)
    clean = {"leak": False, "class": "pii"}
    assert sum(targets_of(clean)) == 0.0 and sum(weights_of(clean)) == 1 + len(CLASSES)


def test_folds_hold_each_document_once_and_each_class_alike():
    folds = folds_of(DEV, 3)
    assert sorted(n for fold in folds for n in fold) == list(range(len(DEV)))
    leaks = [sum(DEV[n]["leak"] for n in fold) for fold in folds]
    assert max(leaks) - min(leaks) <= 11


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_a_threshold_lets_through_the_share_it_is_told(rate):
    scores = [float(n) for n in range(100)]
    above = sum(score > threshold_at(scores, rate) for score in scores) / 100
    assert abs(above - rate) <= 0.01
