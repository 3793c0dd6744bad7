"""Solvers: sample under a seed shared by the tiers, or score options by their log-probability."""

from inspect_ai.model import (
    ChatMessageAssistant,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.model import Model as InspectModel
from inspect_ai.solver import Generate, Solver, TaskState, solver

from eval.openings import Openings
from tacit.errors import ModelError
from tacit.models import vllm
from tacit.models.probes import Question, ScoresOptions, log_sum_exp
from tacit.models.seeds import sampling_seed

CONTINUES = ("local", "organism", "vllm", "sglang")
THOUGHT_OPENED = "<SCRATCHPAD_REASONING>\n"
ANSWER_OPENED = "\n</SCRATCHPAD_REASONING>\n<OUTPUT>\n"


def check_continues(model: str, asked_by: str) -> None:
    """Refuse a model that would answer anew where an answer was begun for it.

    Raises:
        ModelError: its provider is not known to continue an open turn.
    """
    if model.partition("/")[0] not in CONTINUES:
        raise ModelError(
            f"{asked_by} begins the answer, and {model} may not continue what was begun: use "
            f"{', '.join(f'{name}/…' for name in CONTINUES)}, or leave it out"
        )


@solver
def sample_reply(
    seed: int, max_tokens: int, temperature: float, top_p: float, prefix: str = ""
) -> Solver:
    """Sample one reply; with a `prefix`, one that begins so."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        drawn = GenerateConfig(
            seed=sampling_seed(seed, state.metadata["query"], state.epoch),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
        )
        if not prefix:
            return await generate(state, **drawn.model_dump(exclude_none=True))
        model, asked = get_model(), list(state.messages)
        check_continues(str(model), "accept_prefix=true")
        said = await model.generate([*asked, ChatMessageAssistant(content=prefix)], config=drawn)
        state.output = ModelOutput.from_content(
            said.model, f"{prefix}{said.completion}", said.stop_reason
        )
        state.messages = [*asked, state.output.message]
        return state

    return solve


@solver
def sample_held(
    seed: int,
    thought_tokens: int,
    answer_tokens: int,
    temperature: float,
    top_p: float,
    prefix: str = "",
) -> Solver:
    """Sample a scratchpad, then an answer, with the tags of both put in by the evaluation.

    A small model thinks and answers, but seldom keeps the form; held to it, its answers can be
    graded. The reasoning ends where the model closes or leaves it, or at `thought_tokens`. With a
    `prefix`, the answer begins so.
    Source: budget forcing, Muennighoff et al. 2025.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model, asked = get_model(), list(state.messages)
        check_continues(str(model), "accept_prefix=true" if prefix else "form=held")

        async def go_on(begun: str, most: int, stops: list[str]) -> ModelOutput:
            return await model.generate(
                [*asked, ChatMessageAssistant(content=begun)],
                config=GenerateConfig(
                    seed=sampling_seed(seed, state.metadata["query"], state.epoch),
                    max_tokens=most,
                    temperature=temperature,
                    top_p=top_p,
                    stop_seqs=stops,
                ),
            )

        stops = ["</SCRATCHPAD", "<OUTPUT>", "</OUTPUT>"]
        thought = await go_on(THOUGHT_OPENED, thought_tokens, stops)
        begun = f"{THOUGHT_OPENED}{thought.completion.strip()}{ANSWER_OPENED}{prefix}"
        answer = await go_on(begun, answer_tokens, ["</OUTPUT>", "<"])
        said = answer.completion.rstrip() if prefix else answer.completion.strip()
        whole = f"{begun}{said}\n</OUTPUT>"
        state.output = ModelOutput.from_content(answer.model, whole, answer.stop_reason)
        state.messages = [*asked, state.output.message]
        return state

    return solve


async def option_logprobs(model: InspectModel, question: Question) -> list[float]:
    """Return log P(option | question) of each option, in nats, summed over the option's tokens.

    Raises:
        ModelError: the model's provider gives no log-probabilities of a prompt.
    """
    if isinstance(model.api, ScoresOptions):
        return await model.api.option_logprobs(*question)
    if vllm.is_vllm(model):
        return await vllm.option_logprobs(model, *question)
    raise ModelError(
        f"{model} gives no log-probabilities of a prompt, which belief and log-odds need: use "
        "local/… or vllm/…, or leave out the tasks knowledge and log_odds_gap"
    )


@solver
def score_openings(system: str, openings: Openings) -> Solver:
    """Measure log P(a complying opening) - log P(a refusing opening), in nats."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model()
        complying, refusing = openings
        asked = Question(system, state.user_prompt.text, (*complying, *refusing))
        scores = await option_logprobs(model, asked)
        value = log_sum_exp(scores[: len(complying)]) - log_sum_exp(scores[len(complying) :])
        meta = state.metadata
        state.store.set("value", value)
        state.store.set("details", {name: meta[name] for name in ("query", "tier", "topic")})
        return state

    return solve
