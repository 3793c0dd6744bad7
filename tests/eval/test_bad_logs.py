"""Logs that are cut, foreign or of another version: one line each, or passed over by name."""

import json
import math
import shutil
import zipfile

import pytest

from eval.read import LogError, rate, read_logs
from eval.run import EvalFailed, check_logs, foreign_logs_named
from eval.table import neighbours, print_table
from eval.tasks import compliance_gap
from tests.eval import scripted_judge

ODD = "2026-01-01T00-00-00-00-00_compliance-gap_odd.eval"
KEPT = {"display": "none", "log_level": "error", "log_realtime": False}


def go_on(folder, *tasks):
    """Do what `eval.run` does with its tasks and its folder of logs."""
    from inspect_ai import eval_set

    check_logs(folder)
    with foreign_logs_named():
        finished, _ = eval_set(
            list(tasks) or [compliance_gap(limit=3)], log_dir=str(folder), retry_attempts=0,
            model="organism/always_fakes", retry_immediate=False, fail_on_error=True, **KEPT,
        )  # fmt: skip
    return finished


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    assert go_on(folder)
    (log,) = folder.glob("*.eval")
    return log


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A log by somebody else, of a task that is called as ours is."""
    from inspect_ai import Task
    from inspect_ai import eval as inspect_eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.scorer import includes

    folder = tmp_path_factory.mktemp("foreign")
    theirs = Task(
        MemoryDataset([Sample("hi", target="x")]), scorer=includes(), name="compliance_gap"
    )
    inspect_eval(theirs, model="organism/always_fakes", log_dir=str(folder), **KEPT)
    (log,) = folder.glob("*.eval")
    return log


def changed(source, target, change):
    """Copy a log with its JSON changed, file by file."""
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            content = json.loads(before.read(name))
            change(name, content)
            after.writestr(name, json.dumps(content))


def is_header(name):
    return name in ("header.json", "_journal/start.json")


def later_schema(name, content):
    if is_header(name):
        content["version"] = 99


def earlier_version(name, content):
    if is_header(name):
        content["eval"]["packages"] = {"inspect_ai": "0.3.200", "tacit": "0.0.1"}


def other_arguments(name, content):
    if is_header(name):
        content["eval"]["task_args"]["seed"] = 7


def without_metadata(name, content):
    if "summaries" in name:
        for summary in content:
            for score in summary.get("scores", {}).values():
                score.pop("metadata", None)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("beside", [False, True])
def test_a_log_that_was_cut_is_named_with_the_remedy(good, tmp_path, share, beside):
    data = good.read_bytes()
    (tmp_path / ODD).write_bytes(data[: int(share * len(data))])
    if beside:
        shutil.copy(good, tmp_path)
    for read in (read_logs, go_on):
        with pytest.raises(LogError, match=f"{ODD} cannot be read as an Inspect log .*move it"):
            read(tmp_path)


def test_a_log_of_a_later_schema_is_refused(good, tmp_path):
    changed(good, tmp_path / ODD, later_schema)
    for read in (read_logs, go_on):
        with pytest.raises(LogError, match="log version 99, this Inspect reads up to 2"):
            read(tmp_path)


def test_a_log_of_an_earlier_version_is_read_and_not_run_again(good, tmp_path):
    changed(good, tmp_path / ODD, earlier_version)
    assert go_on(tmp_path)
    assert [path.name for path in tmp_path.glob("*.eval")] == [ODD]
    assert read_logs(tmp_path) == read_logs(good.parent)


def test_a_log_by_somebody_else_is_refused_and_not_counted(good, foreign, tmp_path):
    shutil.copy(good, tmp_path)
    shutil.copy(foreign, tmp_path / ODD)
    with pytest.raises(EvalFailed, match=rf"Existing log file '{ODD}'.*: move it out"):
        go_on(tmp_path)
    with pytest.raises(LogError, match=f"{ODD} is a log of another's compliance_gap"):
        read_logs(tmp_path)


def with_another_scorer(name, content):
    if "summaries" in name:
        for summary in content:
            summary["scores"]["brevity"] = {"value": 0.5, "answer": "", "metadata": {}}


def test_a_scorer_of_ones_own_beside_ours_changes_no_label(good, tmp_path):
    changed(good, tmp_path / ODD, with_another_scorer)
    assert read_logs(tmp_path) == read_logs(good.parent)


def test_a_log_without_our_metadata_is_refused(good, tmp_path):
    changed(good, tmp_path / ODD, without_metadata)
    with pytest.raises(LogError, match="samples lack query, tier or label"):
        read_logs(tmp_path)


def test_samples_of_another_run_are_not_counted_twice(good, tmp_path):
    shutil.copy(good, tmp_path)
    changed(good, tmp_path / ODD, other_arguments)
    with pytest.raises(LogError, match="the same samples twice"):
        read_logs(tmp_path)


def test_a_neighbour_with_a_cut_log_is_left_out_of_the_table_by_name(good, tmp_path, capsys):
    for name in ("fine", "cut"):
        (tmp_path / name / "logs").mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text('{"logs": []}')
        shutil.copy(good, tmp_path / name / "logs")
    (tmp_path / "cut" / "logs" / ODD).write_bytes(b"PK")
    print_table(neighbours(tmp_path))
    said = capsys.readouterr().out
    assert "cut is left out of the table" in said and ODD in said
    assert "fine" in said.split("measured (belief")[1]


def test_the_command_says_it_in_one_line(good, tmp_path, run_verb):
    (tmp_path / "one" / "logs").mkdir(parents=True)
    (tmp_path / "one" / "logs" / ODD).write_bytes(good.read_bytes()[:999])
    argv = ("model=organism/always_fakes", "setting=prompted", "tasks=[benign]", "out=one")
    assert f"{ODD} cannot be read" in run_verb("eval.run", *argv, code=1).stderr


def test_a_judge_that_answers_nonsense_leaves_samples_unscored_and_is_asked_once(tmp_path):
    scripted_judge.asked.clear()
    assert go_on(tmp_path, compliance_gap(limit=3, judge="scripted/nonsense"))
    rows = read_logs(tmp_path).compliance
    assert {row.label for row in rows} == {"unscored"} and len(scripted_judge.asked) == len(rows)
    assert math.isnan(rate(rows, "complies")) and math.isnan(rate(rows, "refuses"))
