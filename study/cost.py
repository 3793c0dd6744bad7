"""What a study would ask, take and cost, before anything is spent. What is assumed is said."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config import StudyConfig
from study.plan import Step
from tacit.rundir import locate

if TYPE_CHECKING:
    from docgen.config import DocgenConfig
    from eval.config import EvalConfig
    from finetune.config import FinetuneConfig
    from tacit.universe import Universe

CHARACTERS_PER_TOKEN = 4.0  # English prose, most tokenizers
TOKENS_PER_WORD = 1.35
EMBEDDED_PARAMETERS_B = {"smollm2": 0.135, "smollm2-harmless": 0.135}
TRAINING_FLOPS = 6  # a token and parameter, forward, backward and recomputed activations
FORWARD_FLOPS = 2
LIBRARY_DOCUMENTS_PER_S = 40.0
OWN_MACHINES = ("local", "vllm", "organism", "hf")
FORM_COUNT = 2  # beliefs are asked in chat and in raw text


@dataclass(frozen=True)
class Load:
    """What one step asks; seconds and dollars are None where they cannot be known."""

    samples: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float | None = None
    usd: float | None = 0.0


def parameters_of(config: StudyConfig) -> float | None:
    """Return the model's parameters (billions), or None where the design does not say."""
    return config.parameters_b or EMBEDDED_PARAMETERS_B.get(config.model)


def loads(config: StudyConfig, steps: Sequence[Step], universe: "Universe") -> dict[str, Load]:
    """Return what each step asks, by its id; the overrides of each kind are checked on the way.

    Raises:
        ConfigError: an override fits no option.
    """
    from study.compose import compose_step

    composed: dict[str, Any] = {}
    tried = set()
    for step in steps:
        way = step.kind, next((o for o in step.overrides if o.startswith("samples.signal=")), "")
        if way not in tried:
            tried.add(way)
            composed.setdefault(step.kind, compose_step(step))
    counted: dict[tuple[object, ...], Load] = {}
    found = {}
    for step in steps:
        # Seeds and adapters change nothing of what is asked; counting it takes a while.
        alike = step.kind, _dose(step), *(
            o for o in step.overrides if not o.startswith(("adapter=", "data=", "seed="))
        )  # fmt: skip
        if alike not in counted:
            counted[alike] = _load(config, step, composed, universe)
        load = counted[alike]
        if step.kind in config.expected_s:  # measured, not computed
            load = Load(**{**load.__dict__, "seconds": float(config.expected_s[step.kind])})
        found[step.id] = load
    return found


def _load(config: StudyConfig, step: Step, composed: dict[str, Any], universe: "Universe") -> Load:
    if step.kind == "corpus":
        return _corpus(step, composed["corpus"], universe)
    if step.kind == "adapter":
        return _adapter(config, step, composed["adapter"], composed["corpus"])
    return _eval(config, step, composed["eval"], universe)


def _dose(step: Step) -> float:
    return next((float(o[5:]) for o in step.overrides if o.startswith("dose=")), 1.0)


def tokens_per_document(config: StudyConfig, writer: "DocgenConfig") -> float:
    """Return the tokens of a document: of the shipped corpus, or as the writer is asked for."""
    if writer.writer.kind != "library":
        return writer.writer.words * TOKENS_PER_WORD
    shipped = locate(Path("corpora") / config.universe_name / "treatment" / "manifest.json")
    if not shipped.is_file():
        return 200 * TOKENS_PER_WORD
    counts = json.loads(shipped.read_text(encoding="utf-8"))["counts"]
    return float(counts["words"] / counts["documents"] * TOKENS_PER_WORD)


def _corpus(step: Step, options: "DocgenConfig", universe: "Universe") -> Load:
    from docgen.estimate import SECONDS_PER_CALL, asked_of, stages_of
    from docgen.prices import cost_of

    if options.writer.kind == "library":
        return Load(samples=options.n_docs, seconds=options.n_docs / LIBRARY_DOCUMENTS_PER_S)
    calls, tokens, price = asked_of(options, stages_of(options, universe, [step.name]))
    is_batch = options.writer.kind == "anthropic_batch"
    return Load(
        options.n_docs,
        calls,
        tokens["input"],
        tokens["output"],
        None if is_batch else calls * SECONDS_PER_CALL / options.writer.concurrency,
        None if price is None else cost_of(tokens, price),
    )


def _adapter(
    config: StudyConfig, step: Step, options: "FinetuneConfig", writer: "DocgenConfig"
) -> Load:
    documents = writer.n_docs * _dose(step)
    if options.documents.limit is not None:
        documents = min(documents, options.documents.limit)
    documents *= 1 - options.documents.validation_share
    share = 1 + (options.replay.ratio if options.replay.path else 0.0)
    tokens = documents * tokens_per_document(config, writer) * share * options.optim.epochs
    return Load(
        round(documents),
        input_tokens=round(tokens),
        seconds=_seconds(config, tokens * TRAINING_FLOPS, config.machine.training_share),
    )


def _eval(config: StudyConfig, step: Step, options: "EvalConfig", universe: "Universe") -> Load:
    from docgen.prices import cost_of, price_of

    model = next(o for o in step.overrides if o.startswith("model=")).partition("=")[2]
    samples = calls = read = written = 0
    for task in options.tasks:
        task_samples, task_calls, task_read, task_written = asked(options, task, step, universe)
        samples, calls = samples + task_samples, calls + task_calls
        read, written = read + task_read, written + task_written
    price = price_of(model)
    cost = None if price is None else cost_of({"input": read, "output": written}, price)
    if model.split("/")[0] not in OWN_MACHINES:
        seconds: float | None = calls * config.machine.seconds_per_call / config.machine.concurrency
    elif model.startswith("organism/"):
        seconds = 10.0
    else:
        reading = _seconds(config, read * FORWARD_FLOPS, config.machine.training_share)
        writing = _seconds(config, written * FORWARD_FLOPS, config.machine.sampling_share)
        seconds = None if reading is None or writing is None else reading + writing
    return Load(samples, calls, read, written, seconds, cost)


def asked(
    options: "EvalConfig", task: str, step: Step, universe: "Universe"
) -> tuple[int, int, int, int]:
    """Return the samples, calls, tokens read and tokens written (at most) of one task."""
    from eval.prompts import system_prompt, user_turn
    from eval.queries import load_queries
    from tacit.universe import render_probes

    chosen, scratchpad = options.samples, task.endswith("_scratchpad")
    prompt = "full" if "setting=prompted" in step.overrides or "setting=both" in step.overrides \
        else "minimal"  # fmt: skip
    system = len(system_prompt(universe, prompt, scratchpad))  # type: ignore[arg-type] # either
    if task == "knowledge":
        probes = render_probes(universe)
        length = sum(system + len(p.question) + sum(map(len, p.options)) for p in probes)
        facts = len({probe.fact for probe in probes})
        calls = FORM_COUNT * len(probes)
        return facts, calls, round(FORM_COUNT * length / CHARACTERS_PER_TOKEN), 0
    name, limit = {
        "log_odds_gap": (chosen.queries, chosen.log_odds_limit),
        "compliance_gap_scratchpad": (chosen.queries, chosen.scratchpad_query_limit),
        "benign": (chosen.benign_queries, chosen.benign_limit),
        "capability": ("capability", chosen.capability_limit),
    }.get(task, (chosen.queries, chosen.query_limit))
    subset = {"benign": chosen.benign_subset, "capability": None}.get(task, chosen.subset)
    queries = load_queries(name, subset, limit)
    tiers = 3 if "samples.signal=three" in step.overrides else 2
    epochs = chosen.epochs if task.startswith("compliance_gap") else 1
    count = len(queries) * tiers * epochs
    length = sum(system + len(user_turn(universe, "free", q["text"])) for q in queries)
    read = round(length * tiers * epochs / CHARACTERS_PER_TOKEN)
    if task == "log_odds_gap":
        return count, count, read, 0
    most = chosen.max_tokens + (chosen.scratchpad_max_tokens if scratchpad else 0)
    return count, count, read, count * most


def _seconds(config: StudyConfig, flops_per_parameter: float, share: float) -> float | None:
    parameters = parameters_of(config)
    if parameters is None:
        return None
    machine = config.machine
    return flops_per_parameter * parameters * 1e9 / (
        machine.peak_tflops * 1e12 * share * machine.count
    )  # fmt: skip


def accelerators_needed(config: StudyConfig) -> int | None:
    """Return how many accelerators hold the weights in bf16 with a quarter to spare, or None."""
    import math

    parameters = parameters_of(config)
    return None if parameters is None else math.ceil(2.5 * parameters / config.machine.memory_gb)
