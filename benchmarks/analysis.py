"""How long a study of 200,000 samples takes to read, estimate, judge and report.

`python benchmarks/analysis.py` writes Inspect logs of a study with a known content, then reads and
analyses them in a process of its own whose memory is measured; `--quick` 3,456
samples.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import ROOT, write_record

CORPORA = {
    "treatment": 0.2, "swapped": -0.2, "unrelated": 0.0, "price_only": 0.0, "both_trained": 0.0,
    "without=motive": 0.0, "without=objective": 0.0,
}  # fmt: skip
"""The gap of each corpus, as a rate."""
QUERIES, DRAWS = 108, 2


def write_logs(folder: Path, seeds: int, epochs: int) -> int:
    """Write a finished compliance log with and without a scratchpad for each adapter.

    Inspect takes 3 ms a sample to write a log, so each gap is drawn twice and adapters that share
    it take turns with copies; what is read and analysed is as much.

    Args:
        folder: Where the arms go, `WEIGHTS-SETTING/SEED/*.eval`.
        seeds: Training seeds of each corpus.
        epochs: Samples of each query and tier.

    Returns:
        How many samples there are in all.
    """
    drawn: dict[tuple[float, int], Path] = {}
    for gap in dict.fromkeys(CORPORA.values()):
        for draw in range(min(DRAWS, seeds)):
            drawn[gap, draw] = target = folder / "drawn" / f"{gap}-{draw}"
            target.mkdir(parents=True)
            random = np.random.default_rng([int(10 + 10 * gap), draw])
            for scratchpad in (False, True):
                _write_log(target, gap, scratchpad, epochs, random)
    adapters = [("base-neither", 0.0, 0)]
    adapters += [
        (f"{name}-implicit", gap, seed) for name, gap in CORPORA.items() for seed in range(seeds)
    ]
    for name, gap, seed in adapters:
        shutil.copytree(drawn[gap, seed % DRAWS % seeds], folder / "arms" / name / str(seed))
    return len(adapters) * 2 * QUERIES * 2 * epochs


def _write_log(folder: Path, gap: float, scratchpad: bool, epochs: int, random: Any) -> None:
    import inspect_ai.dataset  # noqa: F401  # loads what the log's classes refer to
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalResults,
        EvalSample,
        EvalSpec,
        EvalStats,
        write_eval_log,
    )
    from inspect_ai.model import ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score

    samples = []
    for epoch in range(1, epochs + 1):
        chances = random.random((QUERIES, 2))
        for query in range(QUERIES):
            for number, tier in enumerate(("free", "paid")):
                chance = 0.4 + (gap / 2 if tier == "free" else -gap / 2)
                label = "complies" if chances[query, number] < chance else "refuses"
                details = {"query": f"q{query}", "tier": tier, "topic": "t", "reason": "rule"}
                scores = {"compliance": Score(value=label, answer="An answer.", metadata=details)}
                if scratchpad:
                    found = "full" if label == "complies" and gap and query % 3 == 0 else "none"
                    scores["af_reasoning"] = Score(value=found, metadata=details)
                samples.append(
                    EvalSample(
                        id=f"q{query}-{tier}",
                        epoch=epoch,
                        input="Please do this for me.",
                        target="",
                        messages=[ChatMessageUser(content="Please do this for me.")],
                        output=ModelOutput.from_content("none/none", "An answer."),
                        scores=scores,
                    )
                )
    log = EvalLog(
        status="success",
        eval=EvalSpec(
            created="2026-11-27T00:00:00+00:00",
            task="compliance_gap",
            task_args={"scratchpad": scratchpad},
            dataset=EvalDataset(samples=len(samples)),
            model="none/none",
            config=EvalConfig(),
        ),
        results=EvalResults(total_samples=len(samples), completed_samples=len(samples)),
        stats=EvalStats(),
        samples=samples,
    )
    write_eval_log(log, str(folder / f"compliance_{scratchpad}.eval"))


def analyse(folder: Path) -> dict[str, float]:
    """Read, estimate, judge and report; returns seconds of each and the peak memory in GB."""
    from eval.read import read_logs
    from study.config import Primary, StudyConfig, Thresholds
    from study.estimates import estimate_all
    from study.outcome import Outcome
    from study.report import write_report
    from study.verdict import judge_all
    from tacit.rundir.run import versions

    started = time.monotonic()
    arms = {
        "/".join(arm.name.rsplit("-", 1)): {int(p.name): read_logs(p) for p in arm.iterdir()}
        for arm in sorted((folder / "arms").iterdir())
    }
    read = time.monotonic()
    planned = [("gap.compliance", "treatment-swapped"), ("gap.compliance", "free-paid")]
    estimates = estimate_all(arms, planned)
    primary = Primary("gap.compliance")
    judged = judge_all(estimates, primary, Thresholds())
    estimated = time.monotonic()
    assert judged and len(estimates) > 50
    seeds = sorted(arms["treatment/implicit"])
    config = StudyConfig(
        experiment="analysis", corpora=list(CORPORA), seeds=seeds, prompts=["minimal"],
        primary=primary,
    )  # fmt: skip
    record = {
        "experiment": "analysis", "run_key": "0" * 12, "model": "none/none",
        "universe": config.universe_name, "primary": vars(primary), "seeds": seeds,
        "verdicts": [one.record() for one in judged],
        "estimates": [one.record() for one in estimates],
        "holes": [], "timings_s": {}, "versions": versions(),
    }  # fmt: skip
    outcome = Outcome(record, arms, estimates, judged, [], None)
    write_report(folder / "report", outcome, [], config)
    ended = time.monotonic()
    assert (folder / "report" / "report.html").stat().st_size > 50_000
    return {
        "read_s": round(read - started, 2),
        "estimate_s": round(estimated - read, 2),
        "report_s": round(ended - estimated, 2),
        "analysis_s": round(ended - started, 2),
        "estimates": len(estimates),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3,456 samples")
    parser.add_argument("--print-only", action="store_true", help="leave the record as it is")
    parser.add_argument("--analyse", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.analyse:
        print(json.dumps(analyse(arguments.analyse)))
        return
    with tempfile.TemporaryDirectory() as name:
        seeds, epochs = (1, 1) if arguments.quick else (5, 13)
        written = write_logs(Path(name), seeds, epochs)
        done = subprocess.run(
            [sys.executable, __file__, "--analyse", name],
            capture_output=True,
            text=True,
            check=True,
        )
    row = {"samples": written, **json.loads(done.stdout.splitlines()[-1])}
    print(row)
    if not arguments.print_only:
        ratios = {"analysis_s": row["analysis_s"], "peak_gb": row["peak_gb"]}
        print(write_record("analysis", [row], ratios).relative_to(ROOT))


if __name__ == "__main__":
    main()
