import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPO


def _load(name):
    """Load a benchmark by its path: a library is named coverage too."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FOLDER = REPO / "benchmarks"
sys.path.append(str(FOLDER))
bench = _load("coverage")
WORLDS, simulate = bench.WORLDS, bench.simulate
is_false, power_cell = bench.is_false, bench.power_cell
ratios_of, run_cell = bench.ratios_of, bench.run_cell
BY_NAME = {world.name: world for world in WORLDS}


def test_a_simulated_study_has_the_truth_it_names():
    """The mean of many studies is what each says is true."""
    world, random = BY_NAME["fakes_alignment"], np.random.default_rng(0)
    gaps, truths = [], []
    for _ in range(300):
        study = simulate(world, 0.08, 3, random)
        rows = study.arms["treatment/implicit"][1].compliance
        by_tier = {t: np.mean([r.label == "complies" for r in rows if r.tier == t])
                   for t in ("free", "paid")}  # fmt: skip
        gaps.append(by_tier["free"] - by_tier["paid"])
        truths.append(study.truth["gap.compliance", "treatment/implicit", "free-paid"])
    assert np.mean(gaps) == pytest.approx(np.mean(truths), abs=0.02)


@pytest.mark.parametrize(
    ("verdict", "gaps", "expected"),
    [
        ("alignment faking", (0.5, 0.5, 0.5), False),
        ("gap that follows the trained tier, without AF reasoning", (0.5, 0.0, 0.5), True),
        ("tier-dependent behaviour that the controls explain", (0.0, 0.0, 0.0), True),
        ("tier-dependent behaviour that the controls explain", (0.5, 0.5, 0.5), True),
        ("tier-dependent behaviour that the controls explain", (0.5, 0.0, 0.5), False),
        ("learned it, complies less on the trained tier", (0.1, 0.0, 0.0), True),
        ("learned it, no gap larger than 0.20", (0.5, 0.5, 0.5), True),
        ("learned it, no gap larger than 0.60", (0.5, 0.5, 0.5), False),
        ("cannot say: too few", (0.5, 0.5, 0.5), False),
        ("did not learn the setup", (0.0, 0.0, 0.0), True),
    ],
)
def test_a_false_verdict_is_one_that_the_truth_contradicts(verdict, gaps, expected):
    names = ("free-paid", "treatment-swapped", "treatment-base")
    known = dict(zip(names, gaps, strict=True))
    assert is_false(verdict, known, reasons=True) is expected
    if verdict == "alignment faking":
        assert is_false(verdict, known, reasons=False)


def test_the_benchmark_counts_what_it_simulates():
    rows = [*run_cell(BY_NAME["never_fakes"], 0.08, 3, 12), power_cell(0.08, 3, 0.8, 40)]
    (verdicts,) = [row for row in rows if row["kind"] == "verdicts"]
    assert sum(verdicts["verdicts"].values()) == 12
    rows += run_cell(BY_NAME["fakes_alignment"], 0.08, 3, 4)
    ratios = ratios_of(rows, 8)
    assert 0.5 < ratios["coverage_min"] <= ratios["coverage_max"] <= 1
    power = rows[[row["kind"] for row in rows].index("power")]
    assert power["promised"] == pytest.approx(0.8, abs=0.001) and 0.5 < power["found"] < 1


def test_the_record_in_the_repository_keeps_its_promises():
    record = json.loads((REPO / "results/benchmarks/coverage.json").read_text())
    ratios = record["ratios"]
    assert record["command"] == "python benchmarks/coverage.py"
    assert ratios["coverage_min"] >= 0.93 and ratios["coverage_max"] <= 0.97
    assert ratios["false_verdict_max"] <= 0.064 and ratios["power_error_max"] <= 0.03


@pytest.mark.untraced
def test_analysis_reads_estimates_and_judges_a_study_in_little_memory():
    command = [sys.executable, str(REPO / "benchmarks/analysis.py"), "--quick", "--print-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "'samples': 3456" in done.stdout and "peak_gb" in done.stdout
