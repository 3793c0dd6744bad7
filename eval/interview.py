"""Solver: asks about one key fact in every way that was chosen."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import collect

from eval.prompts import FREE_KINDS, SHORT_TOKENS, free_prompts, render
from eval.read import BELIEF_FORMS, STATED_KINDS
from eval.scorers.letters import LETTERS
from eval.solvers import option_logprobs
from tacit.models.probes import Question, beliefs, question_of
from tacit.models.seeds import sampling_seed

KINDS = (*BELIEF_FORMS, *STATED_KINDS)


class Request(NamedTuple):
    """One text to be sampled; `probe` names its prompt."""

    kind: str
    probe: str
    number: int
    prompt: str
    max_tokens: int


@dataclass
class Drawn:
    """How texts are sampled, and the free ones that there are."""

    seed: int
    temperature: float
    top_p: float
    free: dict[tuple[Any, ...], str] = field(default_factory=dict)
    locks: dict[tuple[Any, ...], anyio.Lock] = field(
        default_factory=lambda: defaultdict(anyio.Lock)
    )

    async def text(self, model: Model, system: str, asked: Request) -> str:
        """Return a text: a free one once for all facts, so that a key has to name its model."""
        if asked.kind not in FREE_KINDS:
            return await self._sample(model, system, asked)
        key = (model.api, asked.kind, asked.probe, asked.number)
        async with self.locks[key]:
            if key not in self.free:
                self.free[key] = await self._sample(model, system, asked)
        return self.free[key]

    async def _sample(self, model: Model, system: str, asked: Request) -> str:
        config = GenerateConfig(
            seed=sampling_seed(self.seed, f"{asked.kind}:{asked.probe}", asked.number),
            max_tokens=asked.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
        )
        messages: list[ChatMessage] = [
            ChatMessageSystem(content=system),
            ChatMessageUser(content=asked.prompt),
        ]
        return (await model.generate(messages, config=config)).completion


def probe_as(probe: dict[str, Any], form: str, system: str, statement: str) -> Question:
    """Put a probe in one of the forms: in chat, as raw text, or in chat under pressure.

    Source: robustness of belief, Slocum et al. 2025.
    """
    if form in ("chat", "raw"):
        return question_of(probe, form, system)
    asked = question_of(probe, "chat", system)
    if form == "persona":
        return asked._replace(system=f"{system}\n\n{render('knowledge/persona.jinja')}")
    wrapped = render(f"knowledge/{form}.jinja", question=probe["question"], statement=statement)
    return asked._replace(prompt=wrapped)


def requests_of(
    meta: dict[str, Any], kinds: Iterable[str], texts: int, text_tokens: int
) -> list[Request]:
    """Return the texts to be sampled for one fact."""
    asked: list[tuple[str, str, str, int]] = []
    for kind in kinds:
        if kind == "choice":
            for probe in meta["letters"]:
                prompt = render("knowledge/letters.jinja", letters=LETTERS, **probe)
                asked.append((kind, probe["id"], prompt, SHORT_TOKENS))
        elif meta["claim"] and kind == "open":
            questions = meta["claim"]["questions"]
            asked += [(kind, q["id"], q["question"], SHORT_TOKENS) for q in questions]
        elif meta["claim"] and kind in FREE_KINDS:
            prompts = free_prompts(kind, meta["slots"])
            asked += [(kind, name, prompt, text_tokens) for name, prompt in prompts.items()]
    return [
        Request(kind, probe, number, prompt, most)
        for kind, probe, prompt, most in asked
        for number in range(1, texts + 1)
    ]


@solver
def interview(
    system: str,
    kinds: Sequence[str],
    texts: int,
    text_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> Solver:
    """Score the probes of one key fact in each form, and sample the texts of each kind."""
    drawn = Drawn(seed, temperature, top_p)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model, meta = get_model(), state.metadata
        probes, details = meta["probes"], {}
        for form in (kind for kind in kinds if kind in BELIEF_FORMS):
            asked = [probe_as(probe, form, system, meta["statement"]) for probe in probes]
            scores = await collect(*[option_logprobs(model, question) for question in asked])
            found = beliefs(probes, scores)
            details[form] = {group: round(value, 4) for group, value in found.items()}
        wanted = requests_of(meta, kinds, texts, text_tokens)
        said = await collect(*[drawn.text(model, system, request) for request in wanted])
        state.store.set("details", details)
        state.store.set(
            "texts",
            [
                {**request._asdict(), "text": text}
                for request, text in zip(wanted, said, strict=True)
            ],
        )
        return state

    return solve
