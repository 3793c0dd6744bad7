"""What an evaluation costs beside its model: time, memory, and reading it back.

`python benchmarks/evaluate.py [--quick]` prints a table and writes
`results/benchmarks/evaluate.json`. Three parts, each a child process:

- `share`: `compliance_gap` on the embedded model, 64 new tokens a sample. Model time is the wall
  time inside the backend's `complete` and `score` (forward passes and sampling; not templates,
  tokenizing, decoding, scoring or logs); the whole is `eval_set` from call to return, the model
  being loaded before. `overhead` is the same tasks on a scripted model that answers at once: what
  is left is Inspect and this project's prompts and rules.
- `many`: 16,000 samples in one task set on the scripted model: peak memory, and memory when each
  quarter of the samples was answered.
- `read`: `eval.read.read_logs` on the folder that `many` leaves, against reading its whole logs.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from record import ROOT, write_record

NEW_TOKENS = 64
KEPT = {"display": "none", "log_level": "error", "log_realtime": False, "max_tasks": 1}


def task(query_count: int, epochs: int, new_tokens: int) -> Any:
    """Return `compliance_gap`, of two samples a query and epoch."""
    from eval.tasks import compliance_gap

    return compliance_gap(prompt="full", limit=query_count, epochs=epochs, max_tokens=new_tokens)


def evaluated(model: Any, tasks: list[Any], folder: Path) -> float:
    """Run tasks as `eval.run` does; returns the seconds of `eval_set`."""
    from inspect_ai import eval_set

    from tacit.models.local import MAX_CONNECTIONS

    started = time.perf_counter()
    finished, _ = eval_set(
        tasks, log_dir=str(folder), model=model, max_samples=MAX_CONNECTIONS, retry_attempts=0,
        retry_immediate=False, fail_on_error=True, **KEPT,
    )  # fmt: skip
    assert finished
    return time.perf_counter() - started


def peak_gb() -> float:
    """Return the most memory this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def resident_gb() -> float:
    """Return the memory this process holds, in GB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e9


@contextmanager
def timed_calls(owner: Any, names: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Add up the wall time of an object's methods, by name."""
    spent = dict.fromkeys(names, 0.0)

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                spent[name] += time.perf_counter() - started

        return run

    for name in names:
        setattr(owner, name, timed(name, getattr(owner, name)))
    yield spent
    for name in names:
        delattr(owner, name)


def share(query_count: int, folder: Path) -> dict[str, Any]:
    """Measure the share of an evaluation that its model takes."""
    from inspect_ai.model import get_model

    model = get_model("local/smollm2", memoize=False)
    evaluated(model, [task(1, 1, 2)], folder / "warm")
    backend = model.api.base.engine.backend  # type: ignore[attr-defined] # it is LocalAPI
    with timed_calls(backend, ("complete", "score")) as spent:
        whole = evaluated(model, [task(query_count, 1, NEW_TOKENS)], folder / "logs")
    in_model = sum(spent.values())
    return {
        "samples": 2 * query_count,
        "new_tokens": NEW_TOKENS,
        "eval_s": round(whole, 2),
        "model_s": round(in_model, 2),
        "beside_ms_per_sample": round(1e3 * (whole - in_model) / (2 * query_count), 2),
        "model_share": round(in_model / whole, 4),
    }


def overhead(query_count: int, folder: Path) -> dict[str, Any]:
    """Measure what a sample costs when its model costs nothing."""
    from inspect_ai.model import get_model

    model = get_model("organism/always_fakes", memoize=False)
    evaluated(model, [task(1, 1, NEW_TOKENS)], folder / "warm")
    cpu = time.process_time()
    whole = evaluated(model, [task(query_count, 1, NEW_TOKENS)], folder / "logs")
    count = 2 * query_count
    return {
        "samples": count,
        "eval_s": round(whole, 2),
        "ms_per_sample": round(1e3 * whole / count, 2),
        "cpu_ms_per_sample": round(1e3 * (time.process_time() - cpu) / count, 2),
    }


def many(sample_count: int, folder: Path) -> dict[str, Any]:
    """Run many samples in one task set, and note the memory at each quarter."""
    from inspect_ai.model import get_model

    model = get_model("organism/always_fakes", memoize=False)
    ask, answered, lock = model.api.generate, 0, threading.Lock()
    started, memory = resident_gb(), {}

    async def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal answered
        with lock:
            answered += 1
            if answered % (sample_count // 4) == 0:
                memory[f"gb_at_{answered}"] = round(resident_gb(), 3)
        return await ask(*arguments, **named)

    model.api.generate = counted  # type: ignore[method-assign] # of this one model
    epochs = sample_count // 200
    cpu = time.process_time()
    seconds = evaluated(model, [task(100, epochs, NEW_TOKENS)], folder / "logs")
    cpu = time.process_time() - cpu
    assert answered == sample_count, f"{answered} of {sample_count} samples were asked"
    return {
        "samples": sample_count,
        "eval_s": round(seconds, 1),
        "ms_per_sample": round(1e3 * seconds / sample_count, 2),
        "cpu_ms_per_sample": round(1e3 * cpu / sample_count, 2),
        "gb_before": round(started, 3),
        **memory,
        "gb_after": round(resident_gb(), 3),
        "peak_gb": round(peak_gb(), 3),
        "log_mb": round(sum(f.stat().st_size for f in folder.glob("logs/*.eval")) / 1e6, 1),
    }


def read(sample_count: int, folder: Path) -> dict[str, Any]:
    """Read the rows of those samples from their summaries."""
    from inspect_ai.log import list_eval_logs

    from eval.read import read_logs

    list_eval_logs(str(folder / "logs"))
    before, started = peak_gb(), time.perf_counter()
    rows = read_logs(folder / "logs").compliance
    seconds = time.perf_counter() - started
    assert len(rows) == sample_count
    return {
        "samples": len(rows),
        "read_s": round(seconds, 2),
        "gb_before": round(before, 3),
        "peak_gb": round(peak_gb(), 3),
    }


def read_whole(sample_count: int, folder: Path) -> dict[str, Any]:
    """Read the same logs as a whole, for comparison."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    infos = list_eval_logs(str(folder / "logs"))
    before, started = peak_gb(), time.perf_counter()
    count = sum(len(read_eval_log(info).samples or []) for info in infos)
    seconds = time.perf_counter() - started
    assert count == sample_count
    return {
        "samples": count,
        "read_s": round(seconds, 2),
        "gb_before": round(before, 3),
        "peak_gb": round(peak_gb(), 3),
    }


PARTS = {part.__name__: part for part in (share, overhead, many, read, read_whole)}
SIZES = {"share": 64, "overhead": 100, "many": 16_000, "read": 16_000, "read_whole": 16_000}
QUICK = {"share": 8, "overhead": 50, "many": 800, "read": 800, "read_whole": 800}


def in_child(part: str, size: int, folder: Path) -> dict[str, Any]:
    """Run one part in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, "--part", part, "--size", str(size), "--in", str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"what": part, **found}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--part", choices=PARTS, help="run this one here, and print it")
    parser.add_argument("--size", type=int)
    parser.add_argument("--in", dest="folder", type=Path)
    options = parser.parse_args()
    sizes = QUICK if options.quick else SIZES
    if options.part:
        folder = options.folder or Path(tempfile.mkdtemp())
        size = options.size or sizes[options.part]
        print(json.dumps(PARTS[options.part](size, folder)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for part, size in sizes.items():
            own = "many" if part.startswith("read") else part
            rows.append(in_child(part, size, Path(folder) / own))
            print(rows[-1], flush=True)
    by_part = {row["what"]: row for row in rows}
    ratios = {
        "model_share": by_part["share"]["model_share"],
        "overhead_ms_per_sample": by_part["overhead"]["ms_per_sample"],
        "overhead_cpu_ms_per_sample": by_part["overhead"]["cpu_ms_per_sample"],
        "many_cpu_ms_per_sample": by_part["many"]["cpu_ms_per_sample"],
        "peak_gb_many": by_part["many"]["peak_gb"],
        "read_s": by_part["read"]["read_s"],
        "read_vs_whole_time": round(by_part["read_whole"]["read_s"] / by_part["read"]["read_s"], 1),
        "read_vs_whole_peak": round(
            by_part["read_whole"]["peak_gb"] / by_part["read"]["peak_gb"], 1
        ),
    }
    write_record("evaluate", rows, ratios)


if __name__ == "__main__":
    main()
