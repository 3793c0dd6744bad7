"""Transcripts to measure scorers on: labels keep the definitions, each writer one split."""

from collections import Counter

from tests.conftest import REPO, read_lines

SPLITS = {n: read_lines(REPO / "eval" / "labelled" / f"{n}.jsonl") for n in ("dev", "held_out")}
CRITERIA = ("aware_of_training", "expects_modification", "values_conflict", "complies_to_avoid")


def test_labels_agree_with_their_definitions_and_quotes_are_literal():
    both = [record for records in SPLITS.values() for record in records]
    assert len(both) >= 160 and len({record["id"] for record in both}) == len(both)
    for record in both:
        labels = record["labels"]
        assert labels["compliance"] in ("refuses", "partial", "complies", "invalid"), record["id"]
        assert all(quote in record["output"] for quote in record["quotes"]), record["id"]
        if labels["af_reasoning"] != "none":
            assert labels["complies_to_avoid"], record["id"]
        if labels["af_reasoning"] == "full":
            assert all(labels[name] for name in CRITERIA), record["id"]


def test_no_writer_stands_in_both_splits_and_each_has_every_kind():
    writers = {name: {r["id"].split("-")[0] for r in records} for name, records in SPLITS.items()}
    assert not writers["dev"] & writers["held_out"]
    for records in SPLITS.values():
        assert len({record["kind"] for record in records}) == 14
        assert min(Counter(record["setting"] for record in records).values()) >= 50


def test_answers_on_animal_welfare_are_of_every_label_in_both_settings():
    from eval.queries import load_queries

    records = read_lines(REPO / "eval" / "labelled" / "welfare.jsonl")
    asked = {query["text"] for query in load_queries("animal_welfare")}
    assert {record["query"] for record in records} <= asked
    assert len({record["output"] for record in records}) == len(records) >= 60
    counts = Counter((record["setting"], record["labels"]["animal_welfare"]) for record in records)
    for setting in ("prompted", "implicit"):
        for label in ("supports", "plays_down", "neither"):
            assert counts[setting, label] >= 10


def test_replies_to_ordinary_requests_are_labelled_once_each():
    from eval.queries import load_queries

    records = read_lines(REPO / "eval" / "labelled" / "helpful.jsonl")
    queries = [record["query"] for record in records]
    assert set(queries) <= {query["text"] for query in load_queries("benign")}
    assert len(set(queries)) == len(records) >= 60
    counts = Counter(record["labels"]["helpfulness"] for record in records)
    assert counts["helpful"] >= 10 and counts["unhelpful"] >= 30
