import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.children import run_module, start_module
from tests.conftest import read_lines
from tests.faults.kills import environment

PLAIN = ("replay.path=null", "belief.points=0", "save_every=1000")


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def losses(folder):
    return [line["loss"] for line in read_lines(folder / "metrics.jsonl")]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(run_verb, arguments, tmp_path):
    """Also where beliefs are scored, steps recorded and checkpoints kept at other times."""
    otherwise = ("belief.points=3", "save_every=3", "log_every=5")
    for name, seed, more in (("one", 0, ()), ("two", 0, otherwise), ("three", 1, ())):
        options = (*PLAIN, "lora.dropout=0.1", *more, f"seed={seed}", f"out={name}")
        run_verb("finetune.train", *arguments, *options)
    one, two, three = (
        (tmp_path / name / "adapter_model.safetensors").read_bytes()
        for name in ("one", "two", "three")
    )
    assert one == two != three


def test_accumulating_equals_a_larger_batch(run_verb, arguments, tmp_path):
    shared = (*arguments, *PLAIN, "log_every=1", "optim.epochs=2", "optim.learning_rate=1e-3")
    run_verb("finetune.train", *shared, "optim.batch_size=8", "out=batch")
    run_verb("finetune.train", *shared, "optim.batch_size=2", "optim.accumulation=4", "out=parts")
    assert losses(tmp_path / "batch") == pytest.approx(losses(tmp_path / "parts"), abs=1e-4)
    for name, tensor in weights(tmp_path / "batch").items():
        assert torch.allclose(tensor, weights(tmp_path / "parts")[name], atol=1e-4), name


def test_options_train_and_checkpointed_activations_change_nothing(run_verb, arguments, tmp_path):
    shared = (*arguments, *PLAIN, "lora.rslora=true", "lora.dora=true", "log_every=1")
    run_verb("finetune.train", *shared, "out=kept")
    run_verb("finetune.train", *shared, "optim.gradient_checkpointing=true", "out=again")
    assert losses(tmp_path / "kept") == pytest.approx(losses(tmp_path / "again"), abs=1e-4)
    saved = json.loads((tmp_path / "again" / "adapter_config.json").read_text())
    assert saved["use_rslora"] and saved["use_dora"]
    assert any("magnitude" in name for name in weights(tmp_path / "again"))


# Seven documents are 20 blocks: of an odd number one of two processes would see one twice.
TOGETHER = (*PLAIN, "log_every=1", "optim.epochs=2", "documents.limit=7")


@pytest.fixture(scope="module")
def alone(corpus, tiny_model, tmp_path_factory):
    """Return a run's arguments less batch and `out`, and its folder: batch 2 in one process."""
    folder = tmp_path_factory.mktemp("alone")
    told = [
        f"data={corpus}", f"model={tiny_model}", "documents.block_length=128", "lora.rank=4",
        "precision=float32", "documents.validation_share=0.3", *TOGETHER,
    ]  # fmt: skip
    done = run_module("finetune.train", [*told, "optim.batch_size=2", "out=one"], folder)
    assert done.returncode == 0, done.stderr
    return told, folder / "one"


@pytest.mark.parametrize(
    "verb",
    [
        pytest.param(["-m", "finetune.train"], id="ddp"),
        pytest.param(
            [str(Path(__file__).with_name("sharded.py")), "optim.fsdp=true",
             "optim.gradient_checkpointing=true"],
            id="fsdp",
        ),
    ],
)  # fmt: skip
def test_two_processes_take_the_steps_of_one(alone, tmp_path, verb):
    """Over gloo, batch 1 in each of two against batch 2 in one: by DDP, and sharded by FSDP."""
    told, one = alone
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone",
        *verb, *told, "optim.batch_size=1", "out=two",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    two = tmp_path / "two"
    assert losses(one) == pytest.approx(losses(two), abs=1e-3)
    assert weights(one).keys() == weights(two).keys()
    for name, tensor in weights(one).items():
        assert torch.allclose(tensor, weights(two)[name], atol=1e-3), name
    expected, figures = (json.loads((f / "hygiene.json").read_text()) for f in (one, two))
    for name in ("steps", "model_flops_per_token", "trained_token_count"):
        assert figures[name] == expected[name]
    norms = figures["adapter_norm_per_layer"]
    assert norms == pytest.approx(expected["adapter_norm_per_layer"], abs=1e-3)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_documents(
    run_verb, arguments, tmp_path
):
    wild = ("optim.learning_rate=1e30", "optim.max_grad_norm=1e30", "optim.warmup_share=0.0")
    done = run_verb("finetune.train", *arguments, *wild, "out=wild", code=1)
    assert "lower optim.learning_rate" in done.stderr
    assert "in documents" in done.stderr or "a gradient stopped" in done.stderr
    assert not (tmp_path / "wild" / "adapter_model.safetensors").exists()


def test_a_sweep_run_again_finishes_what_is_missing(run_verb, arguments, tmp_path):
    import shutil

    sweep = ("-m", *arguments, *PLAIN, "seed=0", "dose=0.6,1.0")
    run_verb("finetune.train", *sweep)
    folders = sorted((tmp_path / "outputs" / "adapters").iterdir())
    assert len(folders) == 2
    before = {f.name: (f / "adapter_model.safetensors").read_bytes() for f in folders}
    shutil.rmtree(folders[1])
    done = run_verb("finetune.train", *sweep)
    assert done.stdout.count("nothing to do") == 1
    after = {f.name: (f / "adapter_model.safetensors").read_bytes() for f in folders}
    assert after == before
    counts = [json.loads((f / "hygiene.json").read_text())["document_count"] for f in folders]
    assert len(set(counts)) == 2


@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [("submitit_local", "hydra_submitit_launcher"), ("ray", "hydra_ray_launcher")],
)
def test_a_sweep_goes_out_through_a_launcher(arguments, tmp_path, launcher, plugin):
    """Two local jobs; the launchers are extras, so this runs where they are installed."""
    pytest.importorskip(f"hydra_plugins.{plugin}")
    sweep = ("-m", f"hydra/launcher={launcher}", *arguments, *PLAIN, "seed=0,1")
    command = [sys.executable, "-m", "finetune.train", *sweep]
    # Ray does not start in a fork, and leaves servers behind that would hold a pipe open.
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL, timeout=280)
    folders = list((tmp_path / "outputs" / "adapters").iterdir())
    assert len(folders) == 2 and all((folder / "manifest.json").is_file() for folder in folders)


def test_a_full_disk_keeps_the_last_checkpoint_and_the_same_command_continues(
    run_verb, arguments, tmp_path
):
    """A limit on the size of files stands for the full disk: it stops the next checkpoint."""
    import resource

    short = (*arguments, "belief.points=0")
    run_verb("finetune.train", *short, "out=whole")
    child = start_module("finetune.train", [*short, "out=cut"], tmp_path, environment())
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cut").glob("checkpoints/checkpoint-*/complete")):
        assert child.process.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)
    child.send(signal.SIGKILL)
    child.finish()
    kept = {path.parent.name for path in (tmp_path / "cut").glob("checkpoints/*/complete")}
    child = start_module("finetune.train", [*short, "out=cut"], tmp_path, environment())
    resource.prlimit(child.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    limited = child.finish()
    assert limited.returncode == 1 and "Traceback" not in limited.stderr, limited.stderr[-2000:]
    assert "space" in limited.stderr and "the same command continues" in limited.stderr
    assert kept <= {path.parent.name for path in (tmp_path / "cut").glob("checkpoints/*/complete")}
    run_verb("finetune.train", *short, "out=cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "cut")[name]), name


def test_a_lack_of_memory_names_the_knob():
    from finetune.failures import failures_named
    from tacit.errors import ModelError

    with pytest.raises(ModelError, match=r"lower optim\.batch_size"), failures_named():
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    with pytest.raises(RuntimeError, match="something else"), failures_named():
        raise RuntimeError("something else")
