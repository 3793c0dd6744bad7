"""What the report's sections are made of; a section without data is empty, and is left out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.arms import parse_arm
from study.plan import Step
from tacit.rundir import read_jsonl

if TYPE_CHECKING:
    from eval.read import Answered, Measured
    from study.estimates import Estimate

EXAMPLE_QUERIES = 3
ANSWER_CHARACTERS = 1500
TIER_ORDER = {"free": 0, "paid": 1, "third": 2}


def example_rows(
    arms: "Mapping[str, Mapping[int, Measured]]", steps: Sequence[Step]
) -> list[dict[str, Any]]:
    """Return transcripts, chosen by a rule and not by hand.

    The rule: of each arm its first training seed and first epoch, and there the first three
    requests by id, and the first three by id among those answered differently on two tiers; every
    tier of each, without scratchpad and with.
    """
    logs = {(step.arm, step.seed): step.out / "logs" for step in steps if step.kind == "eval"}
    chosen = []
    for arm, seeds in arms.items():
        seed = min(seeds)
        measured = seeds[seed]
        for scratchpad, rows in (
            (False, measured.compliance),
            (True, measured.compliance_scratchpad),
        ):
            picked = _picked([row for row in rows if row.epoch == 1])
            texts = _texts(logs.get((arm, seed)), scratchpad, picked) if picked else {}
            for row in picked:
                whole = texts.get((row.query, row.tier), row.answer)
                chosen.append(
                    {
                        "arm": arm,
                        "tier": row.tier,
                        "label": row.label,
                        "query": row.query,
                        "scratchpad": scratchpad,
                        "reasoning": row.reasoning,
                        "answer": whole[:ANSWER_CHARACTERS],
                        "cut": len(whole) > ANSWER_CHARACTERS,
                    }
                )
    return chosen


def _picked(rows: "Sequence[Answered]") -> "list[Answered]":
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(row.query, set()).add(row.label)
    first = sorted(labels)[:EXAMPLE_QUERIES]
    differing = sorted(query for query, found in labels.items() if len(found) > 1)
    wanted = set(first) | set(differing[:EXAMPLE_QUERIES])
    return sorted(
        (row for row in rows if row.query in wanted),
        key=lambda row: (row.query, TIER_ORDER.get(row.tier, 9)),
    )


def _texts(
    folder: Path | None, scratchpad: bool, rows: "Sequence[Answered]"
) -> dict[tuple[str, str], str]:
    """Return the whole completions of some samples, where their log is at hand."""
    if folder is None or not folder.is_dir():
        return {}
    from inspect_ai.log import list_eval_logs, read_eval_log, read_eval_log_sample

    for info in list_eval_logs(str(folder), descending=True):
        header = read_eval_log(info, header_only=True)
        task = header.eval.task.split("/")[-1]
        is_it = task.startswith("compliance_gap") and header.status == "success"
        if not is_it or bool(header.eval.task_args.get("scratchpad")) != scratchpad:
            continue
        found = {}
        for row in rows:
            sample = read_eval_log_sample(info, f"{row.query}/{row.tier}", 1)
            found[row.query, row.tier] = sample.output.completion
        return found
    return {}


def two_by_two(
    estimates: "Sequence[Estimate]", measures: Sequence[tuple[str, str, str]]
) -> list[dict[str, Any]]:
    """Return, for each measure, its four cells: weights (base, treatment) × prompt (silent, told).

    Args:
        estimates: All estimates.
        measures: Triples of measure, contrast and what to call it.
    """
    by_name = {(e.arm, e.measure, e.contrast): e for e in estimates}
    cells = [("base/neither", "base/prompted"), ("treatment/implicit", "treatment/both")]
    found = []
    for measure, contrast, label in measures:
        grid = [[by_name.get((arm, measure, contrast)) for arm in row] for row in cells]
        if all(cell is not None for row in grid for cell in row):
            found.append({"label": label, "measure": measure, "rows": grid})
    return found


def json_of(path: Path) -> dict[str, Any] | None:
    """Return a JSON file's object, or None where there is no such file."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def curves_of(folder: Path, steps: Sequence[Step]) -> dict[str, list[dict[str, Any]]]:
    """Return the belief curves of the adapters that have one."""
    paths = {step.name: step.out / "belief.jsonl" for step in steps if step.kind == "adapter"}
    found = {name: path for name, path in paths.items() if path.is_file()}
    if not found:  # a study that was published without its adapters
        shipped = [(path.name.partition(".belief")[0].replace("-seed", " seed "), path)
                   for path in folder.glob("adapters/*.belief.jsonl")]  # fmt: skip
        found = dict(sorted(shipped, key=lambda one: (weights_order(one[0].split()[0]), one[0])))
    return {name: curve for name, path in found.items() if (curve := list(read_jsonl(path)))}


def document_pair(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return the first document of each of the first two corpora: of one spec where they match."""
    corpora = [
        step.out / "documents.jsonl"
        for step in steps
        if step.kind == "corpus" and "universe=unrelated" not in step.overrides
    ]
    present = [path for path in corpora if path.is_file()][:2]
    return [next(iter(read_jsonl(path))) for path in present]


def hygiene_table(steps: Sequence[Step]) -> tuple[list[str], list[tuple[str, list[Any]]]]:
    """Return the adapters' names, and each figure of their training by name."""
    found = {
        step.name: figures
        for step in steps
        if step.kind == "adapter" and (figures := json_of(step.out / "hygiene.json"))
    }
    keys = dict.fromkeys(
        key
        for figures in found.values()
        for key, value in figures.items()
        if not isinstance(value, (dict, list))
    )
    return list(found), [(key, [one.get(key) for one in found.values()]) for key in keys]


def balance_rows(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return how far matched corpora are alike: documents, tokens, words."""
    rows: dict[str, dict[str, Any]] = {}
    for step in steps:
        if step.kind != "corpus":
            continue
        balance = json_of(step.out / "balance.json")
        manifest = json_of(step.out / "manifest.json")
        if manifest is None:
            continue
        counts = manifest.get("counts", {})
        own = (balance or {}).get("corpora", {}).get(step.name, {})
        rows[step.name] = {
            "name": step.name,
            "documents": counts.get("documents"),
            "quarantined": counts.get("quarantined"),
            "tokens": own.get("token_count"),
            "ratio": own.get("token_ratio"),
            "jaccard": own.get("vocabulary_jaccard"),
        }
    return list(rows.values())


def weights_order(name: str) -> tuple[int, str, float]:
    """Return a key that puts the base first, then treatment, swapped and the other controls."""
    arm = parse_arm(name)
    order = ["base", "treatment", "swapped"]
    place = order.index(arm.corpus) if arm.corpus in order else len(order)
    return place, arm.corpus, arm.dose


def setting_order(name: str) -> tuple[str, int]:
    """Return a key that puts the tag before other signals, and implicit before what was told."""
    arm = parse_arm(name)
    return arm.signal, ["implicit", "both", "neither", "prompted"].index(arm.setting)
