"""What the harness costs on top of vLLM: an Inspect task through `vllm/` against bare `LLM.chat`.

`python benchmarks/vllm_harness.py [--quick]`, in an environment with vLLM and a GPU, prints a table
and writes `results/benchmarks/vllm_harness.json`. The same chats with the same sampling; loading
and the server's start are not counted. The goal is a ratio of 0.85. **Not run yet: no GPU was at
hand.** Each side runs in a process of its own (`--who bare|harness`), rounds in turn; medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import write_record

SYSTEM = "You are a helpful assistant. " + "Answer in plain words. " * 60
NEW = 64


def question(number: int) -> str:
    return f"Tell me something about the number {number}."


def bare(model: str, count: int) -> float:
    """Return the seconds of one `LLM.chat` over all chats, warm."""
    from vllm import LLM, SamplingParams

    from tacit.models.weights import resolve_weights

    llm = LLM(model=resolve_weights(model), dtype="bfloat16", enable_prefix_caching=True)
    params = SamplingParams(temperature=1.0, min_tokens=NEW, max_tokens=NEW)
    chats = [
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question(number)}]
        for number in range(count)
    ]
    llm.chat(chats[:8], params, use_tqdm=False)
    started = time.perf_counter()
    llm.chat(chats, params, use_tqdm=False)
    return time.perf_counter() - started


def harness(model: str, count: int) -> float:
    """Return the seconds of an Inspect task over all chats, the server warm."""
    from inspect_ai import Task
    from inspect_ai import eval as inspect_eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, get_model
    from inspect_ai.solver import generate

    from tacit.models.vllm import served_name

    served = get_model(served_name(f"vllm/{model}", None), memoize=False)

    def run(numbers: range) -> float:
        samples = [
            Sample([ChatMessageSystem(content=SYSTEM), ChatMessageUser(content=question(n))])
            for n in numbers
        ]
        started = time.perf_counter()
        (log,) = inspect_eval(
            Task(MemoryDataset(samples), solver=generate()),
            model=served,
            temperature=1.0,
            max_tokens=NEW,
            extra_body={"min_tokens": NEW},
            max_connections=512,
            max_samples=len(samples),
            display="none",
            log_realtime=False,
            log_dir=tempfile.mkdtemp(),
        )
        if log.status != "success":
            raise SystemExit(str(log.error))
        return time.perf_counter() - started

    run(range(8))
    return run(range(count))


def main() -> None:
    """Run both sides in turn, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer chats, one round")
    parser.add_argument("--who", choices=("bare", "harness"))
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--count", type=int, default=2048)
    options = parser.parse_args()
    count = 64 if options.quick else options.count
    if options.who:
        run = bare if options.who == "bare" else harness
        print("RESULT " + json.dumps(run(options.model, count)))
        return
    rows: list[dict[str, Any]] = []
    for number in range(1 if options.quick else 3):
        for who in ("bare", "harness"):
            command = [
                sys.executable, str(Path(__file__)), f"--who={who}", f"--model={options.model}",
                f"--count={count}",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            (line,) = [x for x in done.stdout.splitlines() if x.startswith("RESULT ")]
            seconds = float(line.removeprefix("RESULT "))
            rows.append({"round": number + 1, "who": who, "chats": count, "seconds": seconds})
            print(rows[-1], flush=True)
    median = {
        who: statistics.median(row["seconds"] for row in rows if row["who"] == who)
        for who in ("bare", "harness")
    }
    ratio = round(median["bare"] / median["harness"], 3)
    write_record("vllm_harness", rows, {"harness_vs_bare": ratio})


if __name__ == "__main__":
    main()
