"""Large corpora and studies in a process that may take 4 GB: whole, memory and files flat."""

import json
import random
import subprocess
import sys

import pytest

from tests.conftest import REPO
from tests.faults.kills import environment

FLAT_MB = 64
PLANTED = 100  # of so many documents, one is a copy of that before it


def under_limit(what, path):
    command = [sys.executable, "-m", "tests.faults.loads", what, str(path)]
    # Each BLAS thread and malloc arena reserves address space that it never uses.
    lean = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        command, cwd=REPO, env={**environment(), **lean}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def write_corpus(path, count):
    rng = random.Random(0)
    words = [f"w{rng.randrange(36**4):x}" for _ in range(4000)]
    with path.open("w", encoding="utf-8") as handle:
        for number in range(count):
            if number % PLANTED != PLANTED - 1:
                text = " ".join(rng.choices(words, k=80))
            handle.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.faults)])
@pytest.mark.timeout(1500)
def test_a_large_corpus_is_read_audited_and_deduplicated_in_four_gigabytes(tmp_path, count, tally):
    path = tmp_path / "documents.jsonl"
    write_corpus(path, count)
    found = under_limit("documents", path)
    memory, files = zip(*found["streamed"], strict=True)
    open_files = {*files, *(number for _, number in found["remembered"])}
    assert memory[-1] - memory[1] < FLAT_MB, memory
    assert len(open_files) == 1, open_files
    wrong = abs(found["duplicates"] - count // PLANTED) + found["flagged"]
    tally(f"load: {count:,} documents in 4 GB", 1, count - found["count"], wrong)


@pytest.mark.parametrize(
    ("seeds", "epochs"), [(1, 1), pytest.param(5, 13)], ids=["small", "200,000 samples"]
)
@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_a_large_study_is_analysed_in_four_gigabytes(tmp_path, monkeypatch, seeds, epochs, tally):
    monkeypatch.setattr(sys, "path", [*sys.path, str(REPO / "benchmarks")])
    from benchmarks.analysis import write_logs

    count = write_logs(tmp_path, seeds, epochs)
    found = under_limit("analysis", tmp_path)
    (_, before), (_, after) = found["along"]
    assert after <= before + 1, found["along"]
    tally(f"load: {count:,} samples in 4 GB", 1, lost=int(found["estimates"] <= 50))
