"""What goes wrong in a training costs nothing that was finished, and is said in one line."""

import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.children import run_module
from tests.conftest import read_lines
from tests.tacit.test_adapters import make_adapter

SHORT = ("belief.points=0", "replay.path=null")


@pytest.fixture(scope="module")
def whole(corpus, tiny_model, tmp_path_factory):
    """Return the folder of a run in which nothing went wrong, and its arguments less `out`."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = (
        f"data={corpus}", f"model={tiny_model}", "documents.block_length=128", "lora.rank=4",
        "log_every=3", "save_every=4", "precision=float32", "lora.dropout=0.1", *SHORT,
    )  # fmt: skip
    done = run_module("finetune.train", [*arguments, "out=whole"], folder)
    assert done.returncode == 0, done.stderr
    return folder / "whole", arguments


def sabotaged(what, nth, arguments, folder):
    return run_module("tests.finetune.sabotaged", [what, str(nth), *arguments], folder)


def complete(folder):
    return {path.parent.name for path in folder.glob("checkpoints/checkpoint-*/complete")}


def same(one, other):
    """Whether two runs have the same losses, step for step, and the same bytes."""
    records = [
        [
            (line["step"], line["loss"], line["grad_norm"])
            for line in read_lines(f / "metrics.jsonl")
        ]
        for f in (one, other)
    ]
    figures = [json.loads((f / "hygiene.json").read_text()) for f in (one, other)]
    losses = [[f["train_loss"], f["validation_loss"]] for f in figures]
    adapters = [(f / "adapter_model.safetensors").read_bytes() for f in (one, other)]
    return records[0] == records[1] and losses[0] == losses[1] and adapters[0] == adapters[1]


def test_a_kill_in_the_middle_of_a_save_costs_that_checkpoint_and_no_other(
    run_verb, whole, tmp_path
):
    expected, arguments = whole
    done = sabotaged("kill_in_save", 6, (*arguments, "out=x"), tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert complete(tmp_path / "x") == {"checkpoint-4"}
    assert (tmp_path / "x" / "checkpoints" / "checkpoint-8").is_dir()
    again = run_verb("finetune.train", *arguments, "out=x")
    assert "checkpoint-8 was not finished: it is set aside" in again.stderr
    assert same(tmp_path / "x", expected)


@pytest.mark.parametrize("nth", [5, 8])
def test_a_kill_in_a_step_ends_in_the_same_losses_and_bytes(run_verb, whole, tmp_path, nth):
    """Just behind a checkpoint, and in the step that makes one; `make faults` draws the moments.

    Checkpoints and lines of metrics fall on different steps here, which changes no loss.
    """
    expected, arguments = whole
    done = sabotaged("kill_at_step", nth, (*arguments, "out=x"), tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert complete(tmp_path / "x") == {f"checkpoint-{n}" for n in (4, 8, 12) if n < nth <= n + 8}
    run_verb("finetune.train", *arguments, "out=x")
    assert same(tmp_path / "x", expected)
    hygiene = json.loads((tmp_path / "x" / "hygiene.json").read_text())
    assert hygiene["resumed_from_step"] == (nth - 1) // 4 * 4


def test_a_kill_just_before_the_manifest_trains_no_step_again(run_verb, whole, tmp_path):
    expected, arguments = whole
    done = sabotaged("kill_at_the_end", 0, (*arguments, "out=x"), tmp_path)
    assert done.returncode == -signal.SIGKILL
    again = run_verb("finetune.train", *arguments, "out=x")
    assert "step " not in again.stderr
    assert same(tmp_path / "x", expected)
    assert not (tmp_path / "x" / "checkpoints").exists()


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_no_number_stops_the_run_names_documents_and_keeps_the_checkpoint(
    run_verb, whole, corpus, tmp_path, what
):
    expected, arguments = whole
    done = sabotaged(what, 7, (*arguments, "out=x"), tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (complaint,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    ids = {record["id"] for record in read_lines(corpus / "documents.jsonl")}
    named = complaint.split("in documents ")[1].split(":")[0].split(", ")
    assert "at step 7" in complaint and set(named) <= ids
    assert complete(tmp_path / "x") == {"checkpoint-4"}
    run_verb("finetune.train", *arguments, "out=x")
    assert same(tmp_path / "x", expected)


def test_a_lack_of_memory_names_the_knob_and_keeps_the_checkpoint(whole, tmp_path):
    done = sabotaged("no_memory", 7, (*whole[1], "out=x"), tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (complaint,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "out of memory: lower optim.batch_size" in complaint
    assert complete(tmp_path / "x") == {"checkpoint-4"}


def test_a_second_run_on_one_folder_is_refused(run_verb, whole, tmp_path):
    from tacit.rundir.run import locked

    with locked(tmp_path / "x"):
        done = run_verb("finetune.train", *whole[1], "out=x", code=1)
    assert "in use by another process" in done.stderr


def test_an_empty_corpus_and_an_adapter_of_another_base_are_refused(
    run_verb, whole, corpus, tiny_model, tmp_path
):
    empty = tmp_path / "empty"
    shutil.copytree(corpus, empty)
    (empty / "documents.jsonl").write_text("")
    done = run_verb("finetune.train", *whole[1], f"data={empty}", "out=x", code=1)
    assert "holds no documents" in done.stderr
    adapter = make_adapter(tmp_path / "adapter", tiny_model, 1)
    start = f"lora.start_from={adapter}"
    (adapter / "manifest.json").write_text('{"base_model": "smollm2"}')
    done = run_verb("finetune.train", *whole[1], start, "out=y", code=1)
    assert f"was trained on smollm2, not on {tiny_model}" in done.stderr
    (adapter / "manifest.json").unlink()  # somebody else's, for a model of other layers
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "r": 9}))
    done = run_verb("finetune.train", *whole[1], start, "out=y", code=1)
    assert f"does not fit {tiny_model}" in done.stderr


def losses_of(folder):
    return [line["loss"] for line in read_lines(folder / "metrics.jsonl")]


def test_a_tracker_is_told_every_record(whole, tmp_path):
    expected, arguments = whole
    done = sabotaged("tracker", 0, (*arguments, "trackers=[trackio]", "out=x"), tmp_path)
    assert done.returncode == 0, done.stderr
    told = read_lines(tmp_path / "told.jsonl")
    assert [told[0]["what"], told[0]["name"], told[-1]["what"]] == ["init", "x", "finish"]
    losses = [line["figures"]["train/loss"] for line in told if "train/loss" in str(line)]
    assert [float(loss) for loss in losses] == losses_of(tmp_path / "x") == losses_of(expected)


@pytest.mark.parametrize("tracker", ["trackio", "wandb"])
def test_metrics_arrive_in_a_real_tracker(whole, tmp_path, tracker):
    """Offline; the trackers are extras, so this runs where they are installed."""
    if importlib.util.find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed")
    environment = {**os.environ, "WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "kept")}
    command = [sys.executable, "-m", "finetune.train", *whole[1], f"trackers=[{tracker}]", "out=x"]
    subprocess.run(command, cwd=tmp_path, check=True, env=environment, timeout=280)
    if tracker == "wandb":
        (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
        assert kept.read_bytes().count(b"train/loss") >= len(losses_of(tmp_path / "x"))
        return
    (kept,) = (tmp_path / "kept").glob("*.db")
    with sqlite3.connect(kept) as base:
        rows = base.execute("SELECT metrics FROM metrics ORDER BY step").fetchall()
    found = [json.loads(row[0]) for row in rows]
    losses = [float(one["train/loss"]) for one in found if "train/loss" in one]
    assert losses == losses_of(tmp_path / "x")
