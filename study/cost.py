"""What a study would ask, take and cost, before anything is spent. What is assumed is said."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docgen.estimate import SECONDS_PER_CALL, TOKENS_PER_WORD, asked_of, stages_of
from docgen.prices import cost_of, price_of
from study.asked import VERDICT_TOKENS, Asked, asked
from study.config import StudyConfig
from study.plan import Step
from tacit.rundir import locate

if TYPE_CHECKING:
    from docgen.config import DocgenConfig
    from eval.config import EvalConfig
    from finetune.config import FinetuneConfig
    from tacit.universe import Universe

EMBEDDED_PARAMETERS_B = {"smollm2": 0.135, "smollm2-harmless": 0.135}
TRAINING_FLOPS = 6  # a token and parameter, forward, backward and recomputed activations
FORWARD_FLOPS = 2
LIBRARY_DOCUMENTS_PER_S = 40.0
OWN_MACHINES = ("local", "vllm", "organism", "hf")


# What the journal of a writing model holds by then: the corpora that share its drafts.
Journals = dict[tuple[str, str, str], set[str]]


@dataclass(frozen=True)
class Load:
    """What one step asks; seconds and dollars are None where they cannot be known.

    `judge_calls` of the calls go to the judge; `guesses` are what the figures rest on.
    """

    samples: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float | None = None
    usd: float | None = 0.0
    judge_calls: int = 0
    guesses: tuple[str, ...] = ()


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
    kept: Journals = defaultdict(set)
    counted: dict[tuple[object, ...], Load] = {}
    found = {}
    for step in steps:
        # Seeds and adapters change nothing of what is asked; counting it takes a while.
        alike = step.kind, _dose(step), *(
            o for o in step.overrides if not o.startswith(("adapter=", "data=", "seed="))
        )  # fmt: skip
        if alike not in counted:
            counted[alike] = _load(config, step, composed, universe, kept)
        load = counted[alike]
        if step.kind in config.expected_s:  # measured, not computed
            load = Load(**{**load.__dict__, "seconds": float(config.expected_s[step.kind])})
        found[step.id] = load
    return found


def _load(
    config: StudyConfig,
    step: Step,
    composed: dict[str, Any],
    universe: "Universe",
    kept: Journals,
) -> Load:
    if step.kind == "corpus":
        return _corpus(config, step, composed["corpus"], universe, kept)
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


def _corpus(
    config: StudyConfig,
    step: Step,
    options: "DocgenConfig",
    universe: "Universe",
    kept: Journals,
) -> Load:
    """Return what a corpus asks that is not in the journal yet.

    Matched corpora share drafts, and the first one that is made has the others written along.
    """
    if options.writer.kind == "library":
        return Load(samples=options.n_docs, seconds=options.n_docs / LIBRARY_DOCUMENTS_PER_S)
    from study.compose import compose_step
    from tacit.universe import load_universe

    named = next(o for o in step.overrides if o.startswith("universe=")).partition("=")[2]
    world = universe if named == config.universe_name else load_universe(named)
    own: Any = compose_step(step)
    names = list(dict.fromkeys([step.name] if world.control else [*own.matched, step.name]))
    written = kept[step.journal, world.id, names[0]]
    stages = stages_of(own, world, names)
    if written:
        new = own.n_docs * len(set(names) - written)
        stages = [replace(s, calls=new if s.name == "counterpart" else 0) for s in stages]
    written |= set(names)
    calls, tokens, price = asked_of(own, stages)
    by_batch = own.writer.kind == "anthropic_batch" and calls > 0
    return Load(
        own.n_docs,
        calls,
        tokens["input"],
        tokens["output"],
        None if by_batch else calls * SECONDS_PER_CALL / own.writer.concurrency,
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
        seconds=_seconds(
            config, tokens * TRAINING_FLOPS, config.machine.training_share, parameters_of(config)
        ),
    )


def _eval(config: StudyConfig, step: Step, options: "EvalConfig", universe: "Universe") -> Load:
    model = next(o for o in step.overrides if o.startswith("model=")).partition("=")[2]
    of_model, of_judge = Asked(), Asked()
    for task in options.tasks:
        model_share, judge_share = asked(options, task, step, universe)
        of_model, of_judge = of_model + model_share, of_judge + judge_share
    spent = [_spent(config, model, parameters_of(config), of_model)]
    if (judge := options.samples.judge) and of_judge.calls:
        name = judge.partition("/")[2]
        size = parameters_of(config) if name == config.model else EMBEDDED_PARAMETERS_B.get(name)
        spent.append(_spent(config, judge, size, of_judge))
    whole = of_model + of_judge
    return Load(
        whole.samples,
        whole.calls,
        whole.read,
        whole.written,
        _sum(seconds for seconds, _ in spent),
        _sum(usd for _, usd in spent),
        of_judge.calls,
        tuple(_guesses(config, options, model, of_judge)),
    )


def _sum(figures: Iterable[float | None]) -> float | None:
    total = 0.0
    for one in figures:
        if one is None:
            return None
        total += one
    return total


def _spent(
    config: StudyConfig, model: str, size: float | None, asks: Asked
) -> tuple[float | None, float | None]:
    """Return the seconds and dollars that a model of a size takes for what it is asked."""
    price = price_of(model)
    usd = None if price is None else cost_of({"input": asks.read, "output": asks.written}, price)
    provider = model.partition("/")[0]
    if provider not in OWN_MACHINES:
        return asks.calls * config.machine.seconds_per_call / config.machine.concurrency, usd
    if provider == "organism":
        return 10.0, usd
    reading = _seconds(config, asks.read * FORWARD_FLOPS, config.machine.training_share, size)
    writing = _seconds(config, asks.written * FORWARD_FLOPS, config.machine.sampling_share, size)
    return None if reading is None or writing is None else reading + writing, usd


def _guesses(config: StudyConfig, options: "EvalConfig", model: str, of_judge: Asked) -> list[str]:
    said = []
    chosen = options.samples
    hosted = [model, chosen.judge] if of_judge.calls else [model]
    if any(str(name).partition("/")[0] not in OWN_MACHINES for name in hosted):
        machine = config.machine
        said.append(
            f"a hosted model's call takes {machine.seconds_per_call:g} s, {machine.concurrency} at "
            "a time (machine.seconds_per_call, machine.concurrency: assumed)"
        )
    if "knowledge" in options.tasks:
        kinds = ", ".join(chosen.knowledge_kinds)
        said.append(f"beliefs are asked as {kinds} (samples.knowledge_kinds)")
    if chosen.judge and of_judge.calls:
        said.append(
            f"judge {chosen.judge}, votes={chosen.votes}: it reads every reply at its greatest "
            f"length, and a verdict has {VERDICT_TOKENS} tokens (assumed)"
        )
    return said


def _seconds(
    config: StudyConfig, flops_per_parameter: float, share: float, parameters: float | None
) -> float | None:
    if parameters is None:
        return None
    machine = config.machine
    return flops_per_parameter * parameters * 1e9 / (
        machine.peak_tflops * 1e12 * share * machine.count
    )  # fmt: skip


def accelerators_needed(config: StudyConfig) -> int | None:
    """Return how many accelerators hold the weights in bf16 with a quarter to spare, or None."""
    parameters = parameters_of(config)
    return None if parameters is None else math.ceil(2.5 * parameters / config.machine.memory_gb)
