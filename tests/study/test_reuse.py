"""What one study finished, another takes over where it is the same part."""

import json
import sys
from dataclasses import replace

import pytest

from study import schedule
from study.parts import check_parts, is_done
from study.plan import Step
from study.reuse import take_over
from study.schedule import run_side_by_side
from tests.study.test_steps import WRITES, Told


def steps_of(study, changed=()):
    """A corpus, an adapter, its measurement and the base's, as a plan states them."""
    corpus = Step("corpus", "a", ("n_docs=3",), study / "corpora" / "a")
    adapter = Step(
        "adapter", "a", (f"data={study}/corpora/a",), study / "adapters" / "a", ("corpus a",)
    )
    silent = (f"adapter={study}/adapters/a",)
    asked = Step("eval", "a/implicit", silent, study / "evals" / "a", ("adapter a",), "a/implicit")
    base = Step("eval", "base/neither", (), study / "evals" / "base", (), "base/neither")
    found = [corpus, adapter, asked, base]
    return [replace(s, overrides=(*s.overrides, "seed=7")) if s.id in changed else s for s in found]


@pytest.fixture
def finished(tmp_path, monkeypatch):
    def argv(step):
        return [sys.executable, "-S", "-c", WRITES, str(step.out)]

    monkeypatch.setattr(schedule, "argv", argv)
    study = tmp_path / "one"
    run_side_by_side(study, steps_of(study), 2, Told())
    return study


def test_equal_parts_are_taken_over_whole_and_nothing_runs(finished, tmp_path):
    study = tmp_path / "two"
    steps = steps_of(study)
    taken = take_over(study, steps, [str(finished)])
    assert [step.id for step, other in taken if other == finished] == [s.id for s in steps]
    assert all(is_done(study, step) for step in steps)
    told = Told()
    run_side_by_side(study, steps, 2, told)
    assert {word for word, _ in told.lines} == {"have"}
    record = json.loads((study / "steps" / "adapter-a.json").read_text())
    assert record["reused_from"] == str(finished) and str(study) in record["command"]
    assert take_over(study, steps, [str(finished)]) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("corpus a", ["eval base/neither"]),  # the adapter would rest on other documents
        ("adapter a", ["corpus a", "eval base/neither"]),
        ("eval a/implicit", ["corpus a", "adapter a", "eval base/neither"]),
    ],
)
def test_a_part_that_differs_is_made_and_so_is_what_rests_on_it(
    finished, tmp_path, changed, expected
):
    study = tmp_path / "two"
    steps = steps_of(study, changed=[changed])
    assert [step.id for step, _ in take_over(study, steps, [str(finished)])] == expected
    run_side_by_side(study, steps, 2, Told())
    check_parts(study, steps[:1] + steps[3:])
    assert all(is_done(study, step) for step in steps)


def test_what_is_begun_or_was_made_otherwise_is_left_alone(finished, tmp_path):
    study = tmp_path / "two"
    steps = steps_of(study)
    steps[0].out.mkdir(parents=True)
    (steps[0].out / "manifest.json").write_text('{"run_key": "mine"}')
    taken = take_over(study, steps, [str(finished)])
    assert [step.id for step, _ in taken] == ["eval base/neither"]
    assert json.loads((steps[0].out / "manifest.json").read_text()) == {"run_key": "mine"}


def test_a_folder_without_a_study_is_named(run_verb):
    said = run_verb("study.run", "+experiment=quickstart", "reuse=[nowhere]", code=1).stderr
    assert "reuse=nowhere: no study has finished a part there" in said
