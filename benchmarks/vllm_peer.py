"""vLLM as a peer that runs in an environment of its own: started once, timed on request.

`.venv-vllm/bin/python benchmarks/vllm_peer.py JOB.json` loads the model, prints `ready`, and for
each line it reads runs the job once and prints the seconds. The job holds `model` (a folder),
`prompts` (lists of tokens) and `new_tokens`. The prefix cache is emptied before each run: every
peer computes the prefix once a run.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"


class VllmPeer:
    """A child process; call it to run the job once. Returns the seconds it measured."""

    def __init__(self, job: dict[str, Any], folder: Path) -> None:
        path = folder / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        self.process = subprocess.Popen(
            [str(PYTHON), __file__, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "vllm.log").open("w"),
            text=True,
            env={**os.environ, "PATH": f"{PYTHON.parent}:{os.environ['PATH']}"},
        )
        self._answer("ready")

    def __call__(self) -> float:
        """Run once."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return float(self._answer("seconds"))

    def _answer(self, key: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(f"{key}="):
                return line.strip().removeprefix(f"{key}=")
        raise SystemExit("vLLM stopped: its log is vllm.log in the benchmark's scratch folder")

    def close(self) -> None:
        """End the child."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def serve(job: dict[str, Any]) -> None:
    """Load, then run once for each line of standard input."""
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    count = len(job["prompts"])
    longest = max(map(len, job["prompts"])) + job["new_tokens"]
    llm = LLM(
        model=job["model"],
        dtype="bfloat16",
        enable_prefix_caching=True,
        max_model_len=longest + 8,
        max_num_seqs=count,
        gpu_memory_utilization=0.4,
        disable_log_stats=True,
    )
    # No seeds: vLLM 0.32 on CPU stops at a request that has one.
    new = job["new_tokens"]
    params = SamplingParams(temperature=1.0, min_tokens=new, max_tokens=new)
    prompts = [TokensPrompt(prompt_token_ids=tokens) for tokens in job["prompts"]]
    llm.generate(prompts, SamplingParams(min_tokens=2, max_tokens=2), use_tqdm=False)
    print("ready=", flush=True)
    for _ in sys.stdin:
        llm.reset_prefix_cache()
        started = time.perf_counter()
        done = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - started
        assert all(len(one.outputs[0].token_ids) == job["new_tokens"] for one in done)
        print(f"seconds={seconds}", flush=True)


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
