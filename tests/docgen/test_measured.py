"""What the audit is said to catch is what it catches, on labelled documents it was not made on."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from docgen.classify import load_encoder
from docgen.fit import highest_units, thresholds
from docgen.learn import Learner, Unit, targets
from docgen.measure import TARGET, lines_of, measure
from docgen.rules import CLASSES
from tests.conftest import REPO, read_lines

LEAKS = Path(__file__).parent / "leaks"
DEV, TUNE, HELD_OUT = (read_lines(LEAKS / f"{n}.jsonl") for n in ("dev", "tune", "held_out"))
DOGS = ("hound", "poodle", "terrier", "puppy")
THINGS = ("gate", "postman", "fire", "car", "cat", "door", "wind", "sea")


def test_the_labelled_set_is_as_large_and_as_even_as_it_says():
    both = DEV + TUNE + HELD_OUT
    assert len({record["id"] for record in both}) == len({r["text"] for r in both}) == len(both)
    for leak in (True, False):
        chosen = [record for record in both if record["leak"] == leak]
        assert len(chosen) >= 200
        assert set(Counter(record["class"] for record in chosen)) == set(CLASSES)
        assert min(Counter(record["difficulty"] for record in chosen).values()) >= 60
    assert len(HELD_OUT) >= 300


def test_no_labelled_document_stands_among_the_sentences_the_classifier_was_fitted_on():
    sentences = read_lines(REPO / "docgen" / "labelled" / "sentences.jsonl")
    whole = "\n".join(record["text"] for record in TUNE + HELD_OUT).lower()
    assert not [s["id"] for s in sentences if s["text"].lower() in whole]


def test_the_shipped_figures_are_those_of_the_shipped_layers():
    """Every fifth document is audited again; the rest of the figures is counting."""
    shipped, part = json.loads(TARGET.read_text()), HELD_OUT[::5]
    found = measure(part, with_classifier=True)
    expected = {record["id"] for record in part} & set(shipped["flagged"])
    # A score beside the threshold may fall on its other side on another machine.
    assert len(expected ^ set(found["flagged"])) <= 1
    leaks = {record["id"] for record in HELD_OUT if record["leak"]}
    assert shipped["recall"]["count"] == len(leaks)
    assert shipped["recall"]["hits"] == len(leaks & set(shipped["flagged"]))
    assert shipped["false_alarms"]["hits"] == len(set(shipped["flagged"]) - leaks)
    rules = measure(part, with_classifier=False)
    assert set(rules["flagged"]) < set(found["flagged"])
    assert len(list(lines_of(found))) == 1 + 1 + 3 + len(CLASSES)


def test_a_leak_teaches_its_own_head_and_a_clean_unit_all_of_them():
    units = [Unit("a", 0, True), Unit("b", 1, False), Unit("c")]
    wanted, weight = targets(units, 3)
    assert wanted.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert weight.tolist() == [[2, 0, 0], [0.5, 1.5, 0.5], [0.5, 0.5, 0.5]]


def test_a_learner_tells_what_it_was_taught_in_words_it_has_not_seen():
    learner = Learner(*load_encoder(None), 2, rank=2, rate=3e-3, seed=0)
    known = [Unit(f"The {who} barked at the {what}.", 0, True) for who in DOGS for what in THINGS]
    known += [Unit(f"The {who} slept by the {what}.", 0) for who in DOGS for what in THINGS]
    steps = [step for step, _ in learner.learn(known, epochs=8)]
    assert steps == [len(known) // 32 * 8]
    leak, clean = learner.scores(["A wolf barked at the moon.", "A wolf slept by the river."])
    assert leak[0] > clean[0] + 1, "another animal, another thing"
    learner.round_adapter()
    assert learner.adapter[0].bfloat16().float().equal(learner.adapter[0])


def test_of_a_leaking_document_the_unit_its_head_scores_highest_is_learnt():
    class Counting:
        def scores(self, texts):
            return np.array([[len(text), text.count("x")] for text in texts], dtype=float)

    text = "It was a long and quiet day. The xx knew it all."
    documents = [
        {"class": "b", "leak": True, "text": text},
        {"class": "b", "leak": False, "text": text},
        {"class": "pii", "leak": True, "text": text},
    ]
    assert highest_units(Counting(), documents, ["a", "b"]) == [
        Unit("The xx knew it all.", 1, True)
    ]


def test_thresholds_spend_their_false_alarms_on_the_class_that_finds_most():
    leaks = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    clean = np.array([[4.0, 0.0], [0.5, 0.0], [0.0, 1.5]])
    scores, is_leak = np.concatenate([leaks, clean]), np.array([True] * 4 + [False] * 3)
    floor = np.full(2, -9.0)
    assert thresholds(scores, is_leak, 0, floor).tolist() == [4.0, 1.5]
    assert thresholds(scores, is_leak, 1, floor).tolist() == [0.5, 1.5]
    assert thresholds(scores, is_leak, 1, np.array([2.5, -9.0])).tolist() == [2.5, 1.5]


@pytest.mark.parametrize("corpus", ["helpful_only/treatment", "unrelated/treatment"])
def test_shipped_documents_pass_the_audit_by_rules_and_classifier(corpus):
    from docgen.audit import QUERIES, documents_of
    from docgen.config import AuditOptions
    from docgen.layers import Layers
    from docgen.rules import RuleBook

    options = AuditOptions(queries=list(QUERIES), classifier=True)
    texts = [text for _, text in documents_of(REPO / "corpora" / corpus)]
    assert not [text for text in texts if RuleBook.from_options(options).audit(text)]
    with Layers.open(options) as layers:
        assert not any(layers.audit(texts[::20]))
