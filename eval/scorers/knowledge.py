"""The scorer of `knowledge` as Inspect sees it: labels of texts beside beliefs in nats."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState
from inspect_ai.util import collect

from eval.read import BELIEF_FORMS, STATED_KINDS
from eval.scorers.inspect import mean_value
from eval.scorers.judge import Judging
from eval.scorers.letters import label_letter
from eval.scorers.output import visible
from eval.scorers.records import UNSCORED, Scored
from eval.scorers.stated import markers_of, stated_by_judge, stated_by_rules

NONE = float("nan")


def figures(details: dict[str, Any]) -> dict[str, float]:
    """Return one fact's figure by kind: mean log-odds in nats, or the share of texts that state.

    Unscored texts are left out of a share; NaN where nothing is left.
    """
    found: dict[str, float] = {}
    for form in BELIEF_FORMS:
        if values := details.get(form):
            found[form] = fmean(values.values())
    for kind in STATED_KINDS:
        if labels := _labels(details, kind):
            scored = [label for label in labels if label != UNSCORED]
            found[kind] = scored.count("states") / len(scored) if scored else NONE
    return found


def _labels(details: dict[str, Any], kind: str) -> list[str]:
    return [
        label for name, labels in details.items() if name.startswith(f"{kind}:") for label in labels
    ]


@metric
def by_kind() -> Metric:
    """Mean over facts by kind: log-odds in nats, or the share (0-1) of texts that state them."""

    def compute(scores: list[SampleScore]) -> Value:
        found: dict[str, list[float]] = {}
        for one in scores:
            for kind, value in figures(one.score.metadata or {}).items():
                found.setdefault(kind, []).append(value)
        rates: dict[str, str | int | float | bool | None] = {
            kind: fmean(heard) if (heard := [v for v in values if v == v]) else NONE
            for kind, values in found.items()
        }
        return rates

    return compute


@scorer(metrics=[mean_value(), by_kind()])
def known(
    kinds: Sequence[str],
    judge: str | None = None,
    votes: int = 1,
    timeout_s: int = 120,
    retries: int = 3,
) -> Scorer:
    """Label each text on a fact; the value is the figure of the first kind that the fact has.

    Letters are read by rule. Other texts are read by the markers of the universe, or by a judge.
    """
    judging = Judging(judge, votes, timeout_s=timeout_s, retries=retries)

    async def score(state: TaskState, target: Target) -> Score:
        details: dict[str, Any] = dict(state.store.get("details"))
        texts: list[dict[str, Any]] = state.store.get("texts")
        labelled = await collect(*[_scored(state.metadata, text, judging) for text in texts])
        remarks = []
        for text, scored in zip(texts, labelled, strict=True):
            kind = text["kind"]
            # One field a question: the rotations of a choice are samples of the same probe.
            probe = text["probe"].rpartition("/")[0] if kind == "choice" else text["probe"]
            details.setdefault(f"{kind}:{probe}", []).append(scored.label)
            remarks.append(
                f"{kind}:{text['probe']}/{text['number']} {scored.label} ({scored.by}): "
                f"{visible(scored.reason)}"
            )
        found = figures(details)
        value = next((found[kind] for kind in kinds if kind in found), NONE)
        return Score(value=value, explanation="\n".join(remarks) or None, metadata=details)

    return score


async def _scored(meta: dict[str, Any], text: dict[str, Any], judging: Judging) -> Scored:
    if text["kind"] == "choice":
        (probe,) = (one for one in meta["letters"] if one["id"] == text["probe"])
        return label_letter(text["text"], probe["options"], probe["answer"])
    if judging.judge is not None:
        return await stated_by_judge(meta["statement"], text["prompt"], text["text"], judging)
    claim = meta["claim"]
    own = [q for q in claim["questions"] if text["kind"] == "open" and q["id"] == text["probe"]]
    return stated_by_rules(
        text["text"],
        markers_of(claim["states"], claim["contradicts"]),
        [one for q in own for one in markers_of(q["states"], q["contradicts"])],
    )
