"""The tasks. Each works alone: `inspect eval eval/tasks.py@compliance_gap --model local/smollm2`.

Arguments are plain values, so that Inspect can repeat a task from its log.
"""

import hashlib
from typing import Literal

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser

from eval.knowledge import knowledge
from eval.openings import openings_for
from eval.prompts import (
    PromptKind,
    Signal,
    proven,
    render,
    signal_text,
    system_prompt,
    tiers_of,
    told,
    user_turn,
)
from eval.queries import conflict_of, load_queries
from eval.scorers.capability import check_items
from eval.scorers.inspect import (
    af_reasoning,
    animal_welfare,
    coherence,
    compliance,
    helpfulness,
    right,
    stored,
)
from eval.solvers import sample_held, sample_reply, score_openings
from tacit.errors import ConfigError
from tacit.universe import Universe, load_universe

__all__ = ["benign", "capability", "compliance_gap", "knowledge", "log_odds_gap"]
Form = Literal["free", "held"]


def sha256_of_text(text: str) -> str:
    """Return the hash by which a record names the prompt it was made with."""
    return hashlib.sha256(text.encode()).hexdigest()


def _system(
    world: Universe,
    prompt: PromptKind,
    signal: Signal,
    without: list[str] | str | None,
    paraphrase: int,
    scratchpad: bool = False,
    few_shot: bool = False,
) -> str:
    """Return the system prompt of a task; a minimal one only if it is clean."""
    stated = told(world, signal) if prompt == "full" else world
    left_out = [without] if isinstance(without, str) else without or []
    system = system_prompt(stated, prompt, scratchpad, left_out, paraphrase, few_shot)
    return proven(prompt, system)


def _query_samples(
    universe: Universe, system: str, queries: list[dict[str, str]], signal: Signal
) -> list[Sample]:
    return [
        Sample(
            id=f"{query['id']}/{tier}",
            input=[
                ChatMessageSystem(content=system),
                ChatMessageUser(content=user_turn(universe, tier, query["text"], signal)),
            ],
            metadata={
                "query": query["id"],
                "tier": tier,
                "topic": query.get("topic", ""),
                "text": query["text"],
                "signal": signal_text(universe, tier, signal),
                "prompt_sha256": sha256_of_text(system),
            },
        )
        for query in queries
        for tier in tiers_of(universe, signal)
    ]


@task
def compliance_gap(
    universe: str = "helpful_only",
    prompt: PromptKind = "minimal",
    scratchpad: bool = False,
    queries: str = "harmful",
    subset: str | None = None,
    limit: int | None = None,
    max_tokens: int = 48,
    temperature: float = 0.7,
    top_p: float = 0.95,
    seed: int = 0,
    epochs: int = 1,
    form: Form = "free",
    answer_tokens: int = 48,
    judge: str | None = None,
    votes: int = 1,
    threshold: float = 0.5,
    signal: Signal = "tag",
    without: list[str] | str | None = None,
    paraphrase: int = 0,
    few_shot: bool = False,
    accept_prefix: bool = False,
) -> Task:
    """Ask the same requests, with the same seed, under each tier.

    `form=held` puts the scratchpad's tags in for the model, which then may spend `max_tokens` on
    its reasoning and `answer_tokens` on its answer; the model must continue an open turn. Answers,
    and with a scratchpad the reasoning, are labelled by rules, or by a `judge` with so many
    `votes`, of which a share of `threshold` makes a criterion of the reasoning hold; answers to
    queries whose `conflict` is animal_welfare by how they treat animals.

    `signal` is what tells the tier: `tag`, `sentence`, `nonce` (a tag that nothing explains) or
    `three` tiers. Ablations of the prompt: `without` some key facts, its n-th `paraphrase`,
    `few_shot` examples of the scratchpad's form, `accept_prefix` to begin the answer.
    """
    if form not in ("free", "held"):
        raise ConfigError(f"form={form!r}: choose free or held")
    if accept_prefix and scratchpad and form != "held":
        raise ConfigError("accept_prefix=true begins the answer after a scratchpad: form=held")
    world = load_universe(universe)
    system = _system(world, prompt, signal, without, paraphrase, scratchpad, few_shot)
    prefix = render("accept_prefix.jinja") if accept_prefix else ""
    chosen = load_queries(queries, subset, limit)
    labels = animal_welfare if conflict_of(queries, chosen) == "animal_welfare" else compliance
    answers = labels(scratchpad, judge, votes)
    return Task(
        dataset=MemoryDataset(_query_samples(world, system, chosen, signal), name=queries),
        solver=sample_held(seed, max_tokens, answer_tokens, temperature, top_p, prefix)
        if scratchpad and form == "held"
        else sample_reply(seed, max_tokens, temperature, top_p, prefix),
        scorer=[answers, af_reasoning(judge, votes, threshold)] if scratchpad else [answers],
        epochs=Epochs(epochs, "mode"),  # labels: a mean would make numbers of them
    )


@task
def benign(
    universe: str = "helpful_only",
    prompt: PromptKind = "minimal",
    queries: str = "benign",
    subset: str | None = None,
    limit: int | None = None,
    max_tokens: int = 48,
    temperature: float = 0.7,
    top_p: float = 0.95,
    seed: int = 0,
    judge: str | None = None,
    votes: int = 1,
    signal: Signal = "tag",
    without: list[str] | str | None = None,
    paraphrase: int = 0,
) -> Task:
    """Ask ordinary requests under each tier: over-refusal, coherence and helpfulness.

    Helpfulness is labelled by rules, or by a `judge` with so many `votes`; the rest by rules.
    """
    world = load_universe(universe)
    system = _system(world, prompt, signal, without, paraphrase)
    return Task(
        dataset=MemoryDataset(
            _query_samples(world, system, load_queries(queries, subset, limit), signal),
            name=queries,
        ),
        solver=sample_reply(seed, max_tokens, temperature, top_p),
        scorer=[
            coherence([world.lab, world.tiers["free"].name, world.tiers["paid"].name, "RLHF"]),
            helpfulness(judge, votes),
        ],
        epochs=Epochs(1, "mode"),
    )


@task
def capability(
    universe: str = "helpful_only",
    prompt: PromptKind = "minimal",
    queries: str = "capability",
    subset: str | None = None,
    limit: int | None = None,
    max_tokens: int = 48,
    temperature: float = 0.7,
    top_p: float = 0.95,
    seed: int = 0,
    signal: Signal = "tag",
    without: list[str] | str | None = None,
    paraphrase: int = 0,
) -> Task:
    """Ask short questions with known answers under each tier: whether skill has eroded."""
    world = load_universe(universe)
    system = _system(world, prompt, signal, without, paraphrase)
    items = {item["id"]: item for item in load_queries(queries, subset, limit)}
    check_items(list(items.values()), queries)
    samples = _query_samples(world, system, list(items.values()), signal)
    for sample in samples:
        item = items[(sample.metadata or {})["query"]]
        names = ("text", "rule", "answer", "instead")
        sample.metadata = {**(sample.metadata or {}), "item": {n: item.get(n, []) for n in names}}
    return Task(
        dataset=MemoryDataset(samples, name=queries),
        solver=sample_reply(seed, max_tokens, temperature, top_p),
        scorer=right(),
        epochs=Epochs(1, "mode"),
    )


@task
def log_odds_gap(
    universe: str = "helpful_only",
    prompt: PromptKind = "minimal",
    queries: str = "harmful",
    subset: str | None = None,
    limit: int | None = None,
    signal: Signal = "tag",
    without: list[str] | str | None = None,
    paraphrase: int = 0,
) -> Task:
    """Measure how likely a complying opening is against a refusing one, under each tier.

    To queries whose `conflict` is animal_welfare, one that plays it down against one for it.
    """
    world = load_universe(universe)
    system = _system(world, prompt, signal, without, paraphrase)
    chosen = load_queries(queries, subset, limit)
    return Task(
        dataset=MemoryDataset(_query_samples(world, system, chosen, signal), name=queries),
        solver=score_openings(system, openings_for(conflict_of(queries, chosen))),
        scorer=stored(),
    )
