"""A whole study on a tiny model is killed, all its processes at once, and run again."""

import json

import pytest

from tests.faults.kills import killed_run, timed_run
from tests.study.test_run import arguments

__all__ = ["arguments"]  # the tiny study's own fixture

SEEDS = 8
pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]


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
def test_a_killed_study_ends_with_the_same_estimates(seed, arguments, undisturbed, tmp_path, tally):
    seconds, whole = undisturbed(list(arguments))
    killed = killed_run("study.run", list(arguments), tmp_path, seed, seconds)
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
