"""Training is killed at random moments and continued: the adapter has the same bytes."""

import json

import pytest

from tests.faults.kills import contents, killed_run, timed_run

SEEDS = 15
# 60 steps, a checkpoint every 4: most moments lie inside the training.
MORE = ("optim.epochs=4", "save_every=4", "out=adapter")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    timed_run("docgen.generate", ["n_docs=12", "out=treatment"], folder)
    return folder / "treatment"


@pytest.fixture(scope="module")
def arguments(corpus, tiny_model, replay_file):
    return [
        f"data={corpus}", f"model={tiny_model}", f"replay.path={replay_file}",
        "documents.block_length=128", "lora.rank=4", "log_every=2",
        "precision=float32", "documents.validation_share=0.3", "belief.points=2",
        "belief.group_limit=3", *MORE,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    seconds = timed_run("finetune.train", arguments, folder)
    return seconds, result(folder)


def result(folder):
    """What a kill may not change: weights, what they belong to, one record a step, the beliefs."""
    adapter = folder / "adapter"
    steps = [json.loads(line) for line in (adapter / "metrics.jsonl").read_text().splitlines()]
    return {
        **contents(adapter, ("adapter_model.safetensors", "adapter_config.json")),
        "manifest": json.loads((adapter / "manifest.json").read_text()),
        "metrics": [{k: v for k, v in step.items() if k != "tokens_per_s"} for step in steps],
        "belief": (adapter / "belief.jsonl").read_text(),
    }


@pytest.mark.parametrize("seed", [pytest.param(n, marks=pytest.mark.faults) for n in range(SEEDS)])
def test_a_killed_training_gives_the_same_adapter(seed, arguments, undisturbed, tmp_path, tally):
    seconds, whole = undisturbed
    killed = killed_run("finetune.train", arguments, tmp_path, seed, seconds)
    found = result(tmp_path)
    assert found == whole
    steps = [record["step"] for record in found["metrics"]]
    if killed.signals:
        expected = {record["step"] for record in whole["metrics"]}
        tally(
            "kill: finetune",
            injected=len(killed.signals),
            lost=len(expected - set(steps)),
            doubled=len(steps) - len(set(steps)),
        )
