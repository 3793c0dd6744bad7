"""What each task of an evaluation asks of the model, and of the judge where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from docgen.estimate import CHARACTERS_PER_TOKEN

if TYPE_CHECKING:
    from eval.config import EvalConfig, SampleOptions
    from study.plan import Step
    from tacit.universe import Universe

VERDICT_TOKENS = 200  # of a judge: its reason, and quotes from a scratchpad
JUDGES_READ = {
    "compliance": ("query", "answer"),
    "animal_welfare": ("query", "answer"),
    "helpfulness": ("query", "answer"),
    "af_reasoning": ("query", "answer", "reasoning"),
    "stated": ("claim", "query", "answer"),
}


@dataclass(frozen=True)
class Asked:
    """Samples, calls and tokens; what is written is so at most."""

    samples: int = 0
    calls: int = 0
    read: int = 0
    written: int = 0

    def __add__(self, other: "Asked") -> "Asked":
        """Return both together."""
        return Asked(
            self.samples + other.samples,
            self.calls + other.calls,
            self.read + other.read,
            self.written + other.written,
        )


def asked(
    options: "EvalConfig", task: str, step: "Step", universe: "Universe"
) -> tuple[Asked, Asked]:
    """Return what one task asks of the model, and what of the judge."""
    if task == "knowledge":
        return _of_knowledge(options, step, universe)
    return _of_queries(options, task, step, universe)


def _prompt_length(step: "Step", universe: "Universe", scratchpad: bool) -> int:
    from eval.prompts import system_prompt

    is_told = {"setting=prompted", "setting=both"} & set(step.overrides)
    return len(system_prompt(universe, "full" if is_told else "minimal", scratchpad))


def _of_queries(
    options: "EvalConfig", task: str, step: "Step", universe: "Universe"
) -> tuple[Asked, Asked]:
    from eval.prompts import user_turn
    from eval.queries import conflict_of, load_queries

    chosen, scratchpad = options.samples, task.endswith("_scratchpad")
    system = _prompt_length(step, universe, scratchpad)
    name, limit = {
        "log_odds_gap": (chosen.queries, chosen.log_odds_limit),
        "compliance_gap_scratchpad": (chosen.queries, chosen.scratchpad_query_limit),
        "benign": (chosen.benign_queries, chosen.benign_limit),
        "capability": ("capability", chosen.capability_limit),
    }.get(task, (chosen.queries, chosen.query_limit))
    subset = {"benign": chosen.benign_subset, "capability": None}.get(task, chosen.subset)
    queries = load_queries(name, subset, limit)
    times = 3 if "samples.signal=three" in step.overrides else 2
    times *= chosen.epochs if task.startswith("compliance_gap") else 1
    count = len(queries) * times
    length = sum(system + len(user_turn(universe, "free", q["text"])) for q in queries)
    read = round(length * times / CHARACTERS_PER_TOKEN)
    if task == "log_odds_gap":
        return Asked(count, count, read), Asked()
    most = chosen.max_tokens + (chosen.scratchpad_max_tokens if scratchpad else 0)
    of_model = Asked(count, count, read, count * most)
    if task == "capability":
        return of_model, Asked()
    scorers = {"helpfulness": chosen.max_tokens}
    if task != "benign":
        conflict = conflict_of(name, queries)
        label = "animal_welfare" if conflict == "animal_welfare" else "compliance"
        scorers = {label: chosen.max_tokens} | ({"af_reasoning": most} if scratchpad else {})
    texts = [(len(q["text"]), count // len(queries)) for q in queries]
    return of_model, _of_judge(chosen, scorers, texts)


def _of_knowledge(options: "EvalConfig", step: "Step", universe: "Universe") -> tuple[Asked, Asked]:
    from eval.prompts import FREE_KINDS, SHORT_TOKENS, TEXT_TOKENS, free_prompts
    from eval.read import BELIEF_FORMS
    from tacit.universe import letter_probes, render_claims, render_probes

    chosen, kinds = options.samples, set(options.samples.knowledge_kinds)
    system = _prompt_length(step, universe, scratchpad=False)
    probes, claims = render_probes(universe), render_claims(universe)
    by_probe = kinds & {*BELIEF_FORMS, "choice"}
    samples = len(universe.facts) if by_probe else len({claim.fact for claim in claims})
    forms = len(kinds & set(BELIEF_FORMS))
    length = sum(system + len(p.question) + sum(map(len, p.options)) for p in probes)
    of_model = Asked(samples, forms * len(probes), round(forms * length / CHARACTERS_PER_TOKEN))
    of_judge = Asked()

    def add(prompts: Sequence[str], tokens: int, readers: Sequence[int]) -> None:
        nonlocal of_model, of_judge
        calls = len(prompts) * chosen.epochs
        sent = sum(system + len(prompt) for prompt in prompts) * chosen.epochs
        of_model += Asked(0, calls, round(sent / CHARACTERS_PER_TOKEN), calls * tokens)
        for claim in readers:
            texts = [(claim + len(prompt), chosen.epochs) for prompt in prompts]
            of_judge += _of_judge(chosen, {"stated": tokens}, texts)

    if "choice" in kinds:  # letters are read by rule
        letters = [p.question + "".join(p.options) for p in letter_probes(universe)]
        add(letters, SHORT_TOKENS, [])
    if "open" in kinds:
        for claim in claims:
            questions = [one.question for one in claim.questions]
            add(questions, SHORT_TOKENS, [len(claim.statement)])
    for kind in sorted(kinds & set(FREE_KINDS)):
        prompts = free_prompts(kind, {"lab": universe.lab, "model": universe.model})
        add([*prompts.values()], TEXT_TOKENS, [len(claim.statement) for claim in claims])
    return of_model, of_judge


def _of_judge(
    chosen: "SampleOptions", scorers: Mapping[str, int], texts: Sequence[tuple[int, int]]
) -> Asked:
    """Return what judging replies asks.

    Args:
        chosen: Whether there is a judge, and how many votes.
        scorers: What it is asked for of each reply, and the tokens of a reply that it then reads.
        texts: Of each request its characters, and how many replies there are to it.
    """
    if chosen.judge is None:
        return Asked()
    count = sum(times for _, times in texts)
    requests = sum(length * times for length, times in texts)
    found = Asked()
    for scorer, tokens in scorers.items():
        calls = count * chosen.votes
        sent = (count * _frame_length(scorer) + requests) / CHARACTERS_PER_TOKEN + count * tokens
        found += Asked(0, calls, round(chosen.votes * sent), calls * VERDICT_TOKENS)
    return found


@cache
def _frame_length(scorer: str) -> int:
    """Return the characters of a judge's prompt around what it is to read."""
    from eval.scorers.fence import ask

    empty = ask(scorer, **dict.fromkeys(JUDGES_READ[scorer], ""))
    return len(empty.system) + len(empty.prompt)
