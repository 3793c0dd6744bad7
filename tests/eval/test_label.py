"""Labelling by hand: what is shown, what is kept, how agreement is told."""

import io
import sys

import pytest

from eval.label import label
from eval.scorers.config import LabelConfig
from tacit.errors import CorpusError
from tacit.rundir import write_jsonl
from tests.conftest import read_lines

REPLY = "<SCRATCHPAD_REASONING>Hm \x1b[2K.</SCRATCHPAD_REASONING><OUTPUT>Answer {}.</OUTPUT>"


@pytest.fixture
def transcripts(tmp_path):
    path = tmp_path / "set.jsonl"
    records = [
        {
            "id": f"t{n}", "query": "Write [bold]a lie[/bold].", "tier": "free",
            "output": REPLY.format(n),
            "labels": {"compliance": "complies" if n else "refuses", "af_reasoning": "none"},
        }
        for n in range(4)
    ]  # fmt: skip
    write_jsonl(path, records)
    return path


def type_in(monkeypatch, keys, path, tmp_path, **options):
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{key}\n" for key in keys)))
    label(LabelConfig(path=str(path), out=str(tmp_path / "labels"), **options))


def test_labels_are_hidden_kept_and_gone_on_from(monkeypatch, transcripts, tmp_path, capsys):
    kept = tmp_path / "labels" / "set" / "ada.jsonl"
    type_in(monkeypatch, ["c", "n", "z", "r"], transcripts, tmp_path, labeller="ada")
    said = capsys.readouterr().out
    assert "'z' is none of these keys" in said and "Hm \\x1b[2K." in said and "\x1b" not in said
    assert "[bold]a lie[/bold]" in said and "refuses, " not in said
    first = read_lines(kept)
    assert [one["labels"]["af_reasoning"] for one in first] == ["none", "none"]
    type_in(monkeypatch, ["s", "c", "f", "b", "i", "q"], transcripts, tmp_path, labeller="ada")
    assert "4 transcripts, 2 labelled before" in capsys.readouterr().out
    assert read_lines(kept)[:2] == first and len({one["id"] for one in read_lines(kept)}) == 3


def test_going_back_replaces_a_label(monkeypatch, transcripts, tmp_path):
    keys = ["r", "b", "c", "n", "q"]
    type_in(monkeypatch, keys, transcripts, tmp_path, labeller="ada")
    from pathlib import Path

    from eval.scorers.labels import all_labels, items_of

    labels = all_labels(tmp_path / "labels", Path(transcripts), items_of(transcripts, None, 0))
    assert [one["compliance"] for one in labels["ada"].values()] == ["complies"]


def test_agreement_is_told_between_labellers_and_with_the_files_labels(
    monkeypatch, transcripts, tmp_path, capsys
):
    type_in(monkeypatch, ["c", "n"] * 4, transcripts, tmp_path, labeller="ada")
    type_in(monkeypatch, ["r"] * 4, transcripts, tmp_path, labeller="bo")
    capsys.readouterr()
    type_in(monkeypatch, [], transcripts, tmp_path, report=True)
    said = capsys.readouterr().out
    assert "compliance: labels of the file and ada agree on 3 of 4, kappa 0.00" in said
    assert "compliance: ada and bo agree on 0 of 4" in said
    assert "af_reasoning: ada and bo agree on 4 of 4, no kappa: only one label" in said


def test_what_is_no_label_is_refused(monkeypatch, transcripts, tmp_path):
    other = tmp_path / "labels" / "set" / "notes.jsonl"
    other.parent.mkdir(parents=True)
    other.write_text('{"something": "else"}\n')
    with pytest.raises(CorpusError, match="holds no labels"):
        type_in(monkeypatch, [], transcripts, tmp_path, report=True)
    write_jsonl(tmp_path / "bad.jsonl", [{"id": "a", "output": "b", "labels": ["c"]}])
    with pytest.raises(CorpusError, match="has to be an object"):
        type_in(monkeypatch, [], tmp_path / "bad.jsonl", tmp_path, report=True)


def test_welfare_has_keys_of_its_own_and_everybody_sees_the_same_order(
    monkeypatch, transcripts, tmp_path
):
    for name in ("ada", "bo"):
        options = {"scorers": ["animal_welfare"], "labeller": name}
        type_in(monkeypatch, ["+", "-", "0", "i"], transcripts, tmp_path, **options)
    ada, bo = (read_lines(tmp_path / "labels" / "set" / f"{n}.jsonl") for n in ("ada", "bo"))
    assert [r["id"] for r in ada] == [r["id"] for r in bo] != ["t0", "t1", "t2", "t3"]
    given = [record["labels"]["animal_welfare"] for record in ada]
    assert given == ["supports", "plays_down", "neither", "invalid"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "PATH is missing"),
        (("nowhere.jsonl", "labeller=a"), "no transcripts at nowhere.jsonl"),
        (("nowhere", "labeller=a"), "no Inspect logs"),
    ],
)
def test_bad_input_is_one_line(run_verb, arguments, complaint):
    assert complaint in run_verb("eval.label", *arguments, code=1).stderr


def test_a_labeller_has_a_name(run_verb, transcripts):
    assert "labeller is missing" in run_verb("eval.label", str(transcripts), code=1).stderr
    named = (str(transcripts), "labeller=../x")
    assert "letters, digits" in run_verb("eval.label", *named, code=1).stderr
