"""A whole study on a tiny model is killed, with its steps or without them, and run again."""

import json

import pytest

from tests.faults.kills import killed_run, timed_run

KEY = "sk-ant-api03-Zk3vQ9xT7mW2pL5nR8sB1dF4hJ6gC0yU"  # shaped like one, made up
SEEDS = 10
LONE = 3  # of as many seeds, in one the study's own process alone is hit: its steps outlive it
pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def arguments(tiny_model, replay_file):
    """One corpus, one adapter, two evaluations: each kind of step, and what waits for what."""
    finetune = [
        "lora.rank=2", "documents.block_length=128", f"replay.path={replay_file}",
        "precision=float32", "belief.points=1", "belief.group_limit=1",
    ]  # fmt: skip
    evals = [
        "tasks=[log_odds_gap,compliance_gap]", "samples.query_limit=4", "samples.log_odds_limit=4",
        "samples.max_tokens=6",
    ]  # fmt: skip
    return [
        "+experiment=quickstart", f"model={tiny_model}", "corpora=[treatment]", "prompts=[minimal]",
        "primary.contrast=treatment-base", 'docgen=["n_docs=6"]',
        f"finetune={json.dumps(finetune)}", f"eval={json.dumps(evals)}", "out=study",
    ]  # fmt: skip


def result(folder):
    """What a kill may not change: documents, adapters, estimates and verdicts."""
    study = folder / "study"
    record = json.loads((study / "study.json").read_text())
    kept = ("documents.jsonl", "quarantine.jsonl", "adapter_model.safetensors")
    files = [path for name in kept for path in study.rglob(name)]
    return {
        **{str(path.relative_to(study)): path.read_bytes() for path in files},
        "estimates": record["estimates"],
        "verdicts": record["verdicts"],
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found = {}

    def run(command):
        if not found:
            folder = tmp_path_factory.mktemp("undisturbed")
            found["seconds"] = timed_run("study.run", command, folder)
            found["result"] = result(folder)
        return found["seconds"], found["result"]

    return run


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_killed_study_ends_with_the_same_estimates(
    seed, arguments, undisturbed, tmp_path, monkeypatch, tally
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    seconds, whole = undisturbed(arguments)
    killed = killed_run(
        "study.run", arguments, tmp_path, seed, seconds, whole_group=seed % LONE != LONE - 1
    )
    found = result(tmp_path)
    if killed.signals:
        names = [(e["measure"], e["arm"], e["contrast"]) for e in found["estimates"]]
        tally(
            "kill: study",
            injected=len(killed.signals),
            lost=sum(found.get(name) != whole[name] for name in whole),
            doubled=len(names) - len(set(names)),
        )
    assert found == whole
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    held = sum(KEY.encode() in path.read_bytes() for path in files)
    tally("secret: key in the environment of all four verbs", lost=held)
