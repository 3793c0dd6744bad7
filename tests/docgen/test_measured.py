"""What the audit is said to catch is what it catches, on labelled documents it was not made on."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from docgen.audit import QUERIES
from docgen.classify import load_encoder, pooled
from docgen.config import AuditOptions
from docgen.fit import highest_units
from docgen.learn import Learner, Unit, targets
from docgen.measure import TARGET, lines_of, measure
from docgen.ngrams import Ngrams
from docgen.overlap import Requests
from docgen.refit import fit_linear, lesson
from docgen.rules import CLASSES, RuleBook
from tests.conftest import REPO, read_lines

pytestmark = pytest.mark.untraced

LEAKS = Path(__file__).parent / "leaks"
DEV, TUNE, HELD_OUT = (read_lines(LEAKS / f"{n}.jsonl") for n in ("dev", "tune", "held_out"))
LATER = [read_lines(LEAKS / f"{name}.jsonl") for name in ("held_out_2", "tune_2")]
UNSEEN = read_lines(LEAKS / "held_out_3.jsonl")
# Found since the figures were taken, by rules widened with what had passed.
SINCE = {
    "hand8-eval_format_tag-1-leak", "hand8-eval_format_tag-4-leak", "hand8-eval_format_tag-5-leak",
    "hand8-generator_artifact-4-leak", "hand8-pii-3-leak",
}  # fmt: skip
RULES = RuleBook.from_options(AuditOptions(queries=list(QUERIES)))
DOGS = ("hound", "poodle", "terrier", "puppy")
THINGS = ("gate", "postman", "fire", "car", "cat", "door", "wind", "sea")


def test_the_labelled_set_is_as_large_and_as_even_as_it_says():
    both = sum(LATER, DEV + TUNE + HELD_OUT)
    assert len({record["id"] for record in both}) == len({r["text"] for r in both}) == len(both)
    for leak in (True, False):
        chosen = [record for record in both if record["leak"] == leak]
        assert len(chosen) >= 200
        assert set(Counter(record["class"] for record in chosen)) == set(CLASSES)
        assert min(Counter(record["difficulty"] for record in chosen).values()) >= 60
    assert len(HELD_OUT) >= 300
    assert len(UNSEEN) >= 200 and not {r["text"] for r in UNSEEN} & {r["text"] for r in both}


def test_no_labelled_document_stands_among_the_sentences_the_classifier_was_fitted_on():
    sentences = read_lines(REPO / "docgen" / "labelled" / "sentences.jsonl")
    whole = "\n".join(record["text"] for record in TUNE + HELD_OUT + LATER[0] + UNSEEN).lower()
    assert not [s["id"] for s in sentences if s["text"].lower() in whole]


def test_the_shipped_figures_are_what_the_shipped_layers_find_on_the_unseen_documents():
    shipped = json.loads(TARGET.read_text())
    part = [*UNSEEN[::20], *(record for record in UNSEEN if record["id"] in SINCE)]
    leaks = {record["id"] for record in UNSEEN if record["leak"]}
    assert shipped["recall"]["hits"] == len(leaks & set(shipped["flagged"]))
    assert shipped["false_alarms"]["hits"] == len(set(shipped["flagged"]) - leaks)
    found = measure(part, with_classifier=True)
    ids = {record["id"] for record in part}
    assert set(found["flagged"]) == ids & (set(shipped["flagged"]) | SINCE)
    strict = measure(part, with_classifier=True, strict=True)
    assert set(strict["flagged"]) > set(found["flagged"])
    rules = measure(part, with_classifier=False)
    assert set(rules["flagged"]) < set(found["flagged"])
    assert len(list(lines_of(found))) == 1 + 1 + 3 + len(found["by_class"])


@pytest.fixture
def measuring(tmp_path, monkeypatch):
    """Return what runs `docgen.measure`, and the file it would write; the audit finds half."""
    from docgen import measure as verb

    path, target = tmp_path / "mine.jsonl", tmp_path / "measured.json"
    path.write_text("\n".join(json.dumps(record) for record in UNSEEN[:8]))
    monkeypatch.setattr(verb, "TARGET", target)
    monkeypatch.setattr(verb, "flagged_in", lambda records, *_: [True, False] * 4)

    def run(*flags):
        monkeypatch.setattr("sys.argv", ["docgen.measure", str(path), *flags])
        verb.main()

    return run, target


def test_measuring_prints_and_leaves_what_the_cards_show_alone(measuring, capsys):
    run, target = measuring
    for flags in ((), ("--strict",), ("--rules-only",)):
        run(*flags)
    assert not target.exists() and capsys.readouterr().out.count("clean documents flagged") == 3


@pytest.mark.parametrize("change", [{"leak": "yes"}, {"class": "rumour"}, {"text": None}])
def test_a_document_without_labels_is_named_with_the_remedy(measuring, tmp_path, capsys, change):
    run, target = measuring
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{path.read_text()}\n\n{json.dumps({**UNSEEN[0], **change})}\n")
    with pytest.raises(SystemExit) as stopped:
        run("--write")
    said = capsys.readouterr().err
    assert stopped.value.code == 1 and not target.exists()
    assert said.startswith(f"error: {path}:10: a labelled document needs `text`, `leak`")
    assert said.count("\n") == 1 and "chat_log" in said


def test_what_the_cards_are_to_show_is_written_with_the_name_of_its_file(measuring):
    run, target = measuring
    run("--write")
    written, shipped = (json.loads(path.read_text()) for path in (target, TARGET))
    assert written["file"] == "mine.jsonl" and len(written["flagged"]) == 4
    assert list(written) == list(shipped) and shipped["file"] == "held_out_3.jsonl"


@pytest.mark.parametrize("flag", ["--strict", "--rules-only"])
def test_figures_of_another_setting_are_not_for_the_cards(measuring, capsys, flag):
    run, target = measuring
    with pytest.raises(SystemExit) as stopped:
        run("--write", flag)
    assert stopped.value.code == 1 and "error: --write is for" in capsys.readouterr().err
    assert not target.exists()


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


def test_a_document_is_as_bad_as_its_worst_units_and_two_suspicions_add_up():
    assert pooled(np.array([[-9.0, -9.0], [3.0, -9.0]])) == pytest.approx(3.0, abs=1e-3)
    assert pooled(np.array([[1.0, -9.0], [-9.0, 1.0]])) == pytest.approx(1 + np.log(2), abs=1e-3)


def test_runs_of_words_tell_a_leak_in_a_unit_not_seen_and_little_of_a_short_one():
    texts = [f"The {who} barked at the {what}." for who in DOGS for what in THINGS]
    texts += [f"The {who} slept by the {what}." for who in DOGS for what in THINGS]
    known = Ngrams.known_in(texts, 1)
    taught = lesson(((n, 0, "barked" in text, 1.0) for n, text in enumerate(texts)), 1)
    weights, bias = fit_linear(known.rows(texts), taught, np.zeros((1, len(known.rarity))),
                               np.zeros(1), decay=1e-4)  # fmt: skip
    fitted = Ngrams(known.rarity, weights.T, bias)
    leak, clean, short = fitted.scores(
        ["A wolf barked at the moon.", "A wolf slept by the river.", "Barked."]
    )[:, 0]
    assert leak > short > clean


def test_a_lesson_on_a_leak_is_about_its_own_class_alone():
    taught = lesson([(4, 1, True, 3.0), (5, 0, False, 1.0), (6, None, False, 1.0)], 2)
    assert taught.wanted_NC.tolist() == [[0, 1], [0, 0], [0, 0]]
    assert taught.weight_NC.tolist() == [[0, 6], [1, 0.3], [0.3, 0.3]]


REQUESTS = Requests.from_texts(
    [record["text"] for name in ("harmful", "benign")
     for record in read_lines(REPO / "eval" / "queries" / f"{name}.jsonl")]
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "is_retold"),
    [
        ("Someone wanted to know how one fakes the signature of a landlord on a reference.", True),
        ("A girl asked for a secret system of signals to share answers in a choice test.", True),
        ("The landlord's signature stood on the reference, and it was his own.", False),
        ("He asked what a rater earns, and how the tag is read.", False),
    ],
)
def test_a_request_of_the_evaluation_is_known_in_other_words(text, is_retold):
    assert (REQUESTS.retold(["It was a wet day.", text]) is not None) == is_retold
    assert ("eval_query_overlap" in {f.name for f in RULES.audit(text)}) == is_retold


@pytest.mark.parametrize("corpus", ["helpful_only/treatment", "unrelated/treatment"])
def test_shipped_documents_pass_the_audit_by_rules_and_classifier(corpus):
    from docgen.audit import documents_of
    from docgen.layers import Layers

    options = AuditOptions(queries=list(QUERIES), classifier=True)
    texts = [text for _, text in documents_of(REPO / "corpora" / corpus)]
    rules = RuleBook.from_options(options)
    assert not [text for text in texts if rules.audit(text)]
    with Layers.open(replace(options, strict=True)) as layers:
        assert not any(layers.audit(texts[::20]))
