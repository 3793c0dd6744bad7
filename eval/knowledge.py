"""The task `knowledge`: what a model knows of the setup, one sample a key fact."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample

from eval.interview import KINDS, interview
from eval.prompts import TEXT_TOKENS, PromptKind, proven, system_prompt
from eval.read import STATED_KINDS
from eval.scorers.knowledge import known
from tacit.errors import ConfigError
from tacit.universe import (
    Universe,
    letter_probes,
    load_universe,
    render_claims,
    render_probes,
    slots_of,
)
from tacit.universe.render import fill

DEFAULT_KINDS = ("chat", "raw")
MOST_LABELS = 64  # of one question: more exceed a field of Inspect's summaries


@task
def knowledge(
    universe: str = "helpful_only",
    prompt: PromptKind = "minimal",
    kinds: list[str] | str | None = None,
    texts: int = 1,
    text_tokens: int = TEXT_TOKENS,
    temperature: float = 0.7,
    top_p: float = 0.95,
    seed: int = 0,
    judge: str | None = None,
    votes: int = 1,
) -> Task:
    """Ask about each key fact, in each of the `kinds`.

    By log-probability, in nats (the log-odds of the true option against all others, averaged over
    tiers and rotations of the options, so that no liking for a word or a place is left):

    - `chat`, `raw`: in the chat template, or as raw text. Both by default, and nothing else.
    - `told_false`, `distractor`, `persona`: in chat, after being told that the claim is false, with
      a page about another lab's rule in the context, or as a model in a foul mood.
      Source: robustness of belief, Slocum et al. 2025.

    By text, `texts` samples a prompt, labelled states, contradicts, neither, invalid or unscored:

    - `choice`: a letter picked from a list, each option in each place once; for models that give
      no log-probabilities. Bias: a model with no belief picks by habit, so that `states` is 1 in
      the number of options, not 0. Source: MCQ distinguish, Wang et al. 2025.
    - `open`: a question with no options. Bias: a question may suggest its answer; the two tiers are
      asked alike.
    - `generative`: free writing about the model, of up to `text_tokens`: does the fact surface?
    - `salience`: writing about something else: does it surface unasked? Bias: a fact in a short
      text has few places to surface; compare adapters, not facts.

    A free text is written once and read for every fact, so rates of different facts over the same
    texts are not independent. Texts are labelled by the markers of the universe, a rule that misses
    much, or by a `judge` with so many `votes`. Of facts without `stated` no free text is read.

    Raises:
        ConfigError: an unknown kind, too many texts, or a universe without what a kind needs.
    """
    chosen = checked_kinds(kinds)
    world = load_universe(universe)
    check_texts(texts, world, chosen)
    system = proven(prompt, system_prompt(world, prompt, scratchpad=False))
    return Task(
        dataset=MemoryDataset(_samples(world, system, chosen), name=world.id),
        solver=interview(system, chosen, texts, text_tokens, temperature, top_p, seed),
        scorer=known(chosen, judge, votes),
    )


def checked_kinds(kinds: Sequence[str] | str | None) -> list[str]:
    """Return the kinds asked for, each once.

    Raises:
        ConfigError: one that does not exist, or none.
    """
    given = DEFAULT_KINDS if kinds is None else [kinds] if isinstance(kinds, str) else kinds
    chosen = list(dict.fromkeys(given))
    if unknown := [kind for kind in chosen if kind not in KINDS]:
        raise ConfigError(f"unknown kind {', '.join(unknown)}: choose from {', '.join(KINDS)}")
    if not chosen:
        raise ConfigError(f"kinds=[]: choose from {', '.join(KINDS)}")
    return chosen


def check_texts(texts: int, world: Universe, kinds: Sequence[str]) -> None:
    """Refuse a number of texts whose labels a log's summaries could not hold.

    Raises:
        ConfigError: none, or too many.
    """
    groups = Counter(probe.group for probe in letter_probes(world)) if "choice" in kinds else {}
    most = MOST_LABELS // max(groups.values(), default=1)
    if not 1 <= texts <= most:
        raise ConfigError(f"texts={texts}: from 1 to {most} of these kinds; repeat with a new seed")


def _samples(world: Universe, system: str, kinds: Sequence[str]) -> list[Sample]:
    slots = slots_of(world)
    probes, letters = _by_fact(render_probes(world)), _by_fact(letter_probes(world))
    claims = {claim.fact: claim.model_dump(mode="json") for claim in render_claims(world)}
    asks_by_probe = any(kind not in STATED_KINDS or kind == "choice" for kind in kinds)
    samples = [
        Sample(
            id=fact.id,
            input=str(probes[fact.id][0]["question"]),
            metadata={
                "fact": fact.id,
                "is_link": bool(probes[fact.id][0]["is_link"]),
                "statement": fill(fact.statement, slots),
                "probes": probes[fact.id],
                "letters": letters[fact.id] if "choice" in kinds else [],
                "claim": claims.get(fact.id),
                "slots": {"lab": world.lab, "model": world.model},
                "prompt_sha256": hashlib.sha256(system.encode()).hexdigest(),
            },
        )
        for fact in world.facts
        if asks_by_probe or fact.id in claims
    ]
    if not claims and any(kind in STATED_KINDS and kind != "choice" for kind in kinds):
        raise ConfigError(
            f"universe {world.id} says of no key fact how text is read for it: add `stated` to its "
            "facts, or leave out the kinds open, generative and salience"
        )
    return samples


def _by_fact(probes: Sequence[Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for probe in probes:
        found.setdefault(probe.fact, []).append(probe.model_dump(mode="json"))
    return found
