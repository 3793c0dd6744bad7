"""Verb: how right the scorers are, on labelled transcripts.

`python -m eval.calibrate` measures the keyless rules on `held_out.jsonl`, `welfare.jsonl` and
`helpful.jsonl` of `eval/labelled`; `judge=anthropic/claude-…` measures a judge. Prints a table and
writes `calibration.json`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from eval.scorers.calibration import Calibration, Confusion, ScorerRecord, as_json
from eval.scorers.config import CalibrateConfig
from tacit.errors import CorpusError
from tacit.proportions import wilson
from tacit.rundir import open_run, read_jsonl, run_key, sha256_of, write_atomic
from tacit.rundir.door import enter
from tacit.rundir.journal import Journal
from tacit.rundir.run import locked

SETTINGS = ("prompted", "implicit", "all")
# What is measured: the scorer, its field in the labels, which labels are positive, and its name.
MEASURED = (
    ("compliance", ("complies",), {"positive": "complies"}),
    ("compliance", ("refuses",), {"positive": "refuses"}),
    ("compliance", ("invalid",), {"positive": "invalid"}),
    ("af_reasoning", ("full",), {"strictness": "full"}),
    ("af_reasoning", ("full", "partial"), {"strictness": "partial"}),
    ("animal_welfare", ("supports",), {"positive": "supports"}),
    ("animal_welfare", ("plays_down", "neither"), {"positive": "complies"}),  # as a study has it
    ("helpfulness", ("helpful",), {"positive": "helpful"}),
)
RESULT_BLIND = ("out", "behavior_if_exists", "timeout_s", "retries", "max_connections", "kinds")


def calibrate(config: CalibrateConfig) -> None:
    """Score labelled transcripts and compare."""
    from eval.scorers.batch import job, made_by, score_all
    from eval.scorers.records import Transcript

    names = [config.labelled] if isinstance(config.labelled, str) else list(config.labelled)
    sets = {path: load_labelled(path) for path in map(labelled_path, names)}
    scorers = list(dict.fromkeys(name for records in sets.values() for name in scorers_of(records)))
    judging = config.judging()
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    settings["transcripts_sha256"] = "+".join(map(sha256_of, sets))
    settings["made_by"] = made_by(config.judge, scorers)
    out = Path(config.out or f"outputs/calibration/{run_key(settings)}")
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type] # checked there
    jobs = [
        job(
            scorer,
            Transcript(
                one["query"], one.get("tier", ""), one["output"], one.get("scratchpad", True)
            ),
            {"id": one["id"], "set": path.stem},
        )
        for path, records in sets.items()
        for scorer in scorers_of(records)
        for one in records
    ]
    with locked(run.path), Journal(run.path / "scores.jsonl") as journal:
        score_all(jobs, judging, journal, max(1, config.max_connections))
        rows = list(journal.records)
    measured: list[ScorerRecord] = []
    for path, records in sets.items():
        scored = {(row["scorer"], row["id"]): row for row in rows if row["set"] == path.stem}
        measured += _measure(records, scored, scorers_of(records), config)
        if config.kinds:
            show_kinds(records, scored, scorers_of(records))
    calibration = Calibration(
        "+".join(path.stem for path in sets), settings["transcripts_sha256"], tuple(measured)
    )
    show(calibration)
    target = run.path / "calibration.json"
    whole = {
        "set": calibration.set_name,
        "transcripts_sha256": calibration.transcripts_sha256,
        "scorers": [as_json(one) for one in measured],
    }
    write_atomic(target, json.dumps(whole, indent=1) + "\n")
    print(target)
    run.finish(transcripts=sum(map(len, sets.values())))


def labelled_path(name_or_path: str) -> Path:
    """Return the file of labelled transcripts: shipped by name, or given by path.

    Raises:
        CorpusError: nothing there.
    """
    shipped = Path(str(files("eval") / "labelled" / f"{name_or_path}.jsonl"))
    path = shipped if shipped.is_file() else Path(name_or_path)
    if not path.is_file():
        raise CorpusError(
            f"no labelled transcripts at {path}: choose dev, held_out, welfare, helpful, or give a "
            "path"
        )
    return path


def scorers_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the scorers whose labels a set of transcripts has."""
    return [name for name in dict.fromkeys(m[0] for m in MEASURED) if name in records[0]["labels"]]


def load_labelled(path: Path) -> list[dict[str, Any]]:
    """Read labelled transcripts: `id`, `query`, `output`, `labels`, and `setting` where known.

    Raises:
        CorpusError: none, or a record without one of these, a repeated id, an unknown label.
    """
    from eval.scorers.records import CHOICES

    records = list(read_jsonl(path))
    if not records:
        raise CorpusError(f"{path} is empty: give transcripts with labels")
    seen: set[str] = set()
    for number, one in enumerate(records, start=1):
        kinds = {"id": str, "query": str, "output": str, "labels": dict}
        if missing := [name for name, kind in kinds.items() if not isinstance(one.get(name), kind)]:
            raise CorpusError(f"{path}:{number}: a record needs {', '.join(missing)}")
        if one["id"] in seen:
            raise CorpusError(f"{path}:{number}: repeated id {one['id']!r}")
        if set(one["labels"]) & {m[0] for m in MEASURED} != set(records[0]["labels"]) & {
            m[0] for m in MEASURED
        }:
            raise CorpusError(f"{path}:{number}: other scorers are labelled than in the first line")
        for name, value in one["labels"].items():
            if name in CHOICES and value not in CHOICES[name]:
                raise CorpusError(
                    f"{path}:{number}: {name}={value!r}: choose {', '.join(CHOICES[name])}"
                )
        seen.add(one["id"])
    return records


def _measure(
    records: list[dict[str, Any]],
    scored: dict[tuple[str, str], dict[str, Any]],
    scorers: Sequence[str],
    config: CalibrateConfig,
) -> Iterator[ScorerRecord]:
    for scorer, positive, named in MEASURED:
        if scorer not in scorers:
            continue
        for setting in SETTINGS:
            here = [one for one in records if setting in ("all", one.get("setting"))]
            if here:
                rows = [scored[scorer, one["id"]] for one in here]
                truth = [one["labels"][scorer] in positive for one in here]
                found = measure(scorer, setting, positive, truth, rows, config, named)
                if scorer == "af_reasoning" and "compliance" in scorers:
                    pairs = [
                        (true, row)
                        for true, row, one in zip(truth, rows, here, strict=True)
                        if scored["compliance", one["id"]]["label"] == "complies"
                    ]
                    found = replace(found, complying=_confusion(pairs, positive))
                yield found


def measure(
    scorer: str,
    setting: str,
    positive: Sequence[str],
    truth: Sequence[bool],
    rows: Sequence[dict[str, Any]],
    config: CalibrateConfig,
    named: Mapping[str, str],
) -> ScorerRecord:
    """Compare a scorer with the truth; what is unscored is counted, and stands in no measure."""
    from eval.scorers.agreement import auroc_interval, kappa_interval
    from eval.scorers.records import UNSCORED

    whole = list(zip(truth, rows, strict=True))
    counts = _confusion(whole, positive)
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    pairs = [(t, row) for t, row in whole if row["label"] != UNSCORED]
    true = [t for t, _ in pairs]
    said = [row["label"] in positive for _, row in pairs]
    ranked = [(t, row["value"]) for t, row in pairs if row.get("value") is not None]
    sign = -1 if named.get("positive") == "refuses" else 1
    sign = -1 if (scorer, named.get("positive")) == ("animal_welfare", "complies") else sign
    has_rank = named.get("positive") != "invalid"  # nothing says how invalid an answer is
    return ScorerRecord(
        scorer=scorer,
        by=rows[0]["by"] if config.judge is None else config.judge,
        setting=setting,
        strictness=named.get("strictness"),
        positive=named.get("positive"),
        n=len(rows),
        confusion=counts,
        precision=wilson(tp, tp + fp),
        recall=wilson(tp, tp + fn),
        specificity=wilson(tn, tn + fp),
        kappa=kappa_interval(true, said, config.resamples, config.bootstrap_seed),
        auroc=auroc_interval(
            [t for t, _ in ranked] if has_rank else [],
            [sign * value for _, value in ranked] if has_rank else [],
        ),
    )


def _confusion(pairs: Sequence[tuple[bool, dict[str, Any]]], positive: Sequence[str]) -> Confusion:
    """Count what is true against what was said; what is unscored by itself."""
    from eval.scorers.records import UNSCORED

    said = Counter(
        (true, row["label"] in positive) for true, row in pairs if row["label"] != UNSCORED
    )
    tp, fp, fn, tn = (
        said[pair] for pair in ((True, True), (False, True), (True, False), (False, False))
    )
    return Confusion(tp, fp, fn, tn, len(pairs) - said.total())


def show(calibration: Calibration) -> None:
    """Print what was measured, a row for each scorer and setting."""
    from rich.table import Table

    from tacit.rundir.console import console_for

    names = ("precision", "recall", "specificity", "kappa", "auroc")
    table = Table("scorer", "setting", "tp fp fn tn (uns.)", *names, title=calibration.set_name)
    for one in calibration.scorers:
        cells = [getattr(one, name) for name in names]
        shown = ["–" if v[0] != v[0] else f"{v[0]:.2f} [{v[1]:.2f}, {v[2]:.2f}]" for v in cells]
        c = one.confusion
        kind = one.strictness or one.positive
        counts = f"{c.tp} {c.fp} {c.fn} {c.tn} ({c.unscored})"
        table.add_row(f"{one.scorer} {kind}, by {one.by}", one.setting, counts, *shown)
    console_for(170).print(table)


def show_kinds(
    records: list[dict[str, Any]],
    scored: dict[tuple[str, str], dict[str, Any]],
    scorers: Sequence[str],
) -> None:
    """Print, for each kind of transcript, how many labels are right and what was said instead."""
    from rich.table import Table

    from tacit.rundir.console import console_for

    table = Table("kind", "n", *(f"{name} right" for name in scorers), "said instead (true → said)")
    for kind in dict.fromkeys(str(one.get("kind", "?")) for one in records):
        here = [one for one in records if str(one.get("kind", "?")) == kind]
        pairs = {
            name: [(one["labels"][name], scored[name, one["id"]]["label"]) for one in here]
            for name in scorers
        }
        right = [str(sum(true == said for true, said in pairs[name])) for name in scorers]
        wrong = Counter(pair for name in scorers for pair in pairs[name] if pair[0] != pair[1])
        told = ", ".join(f"{true} → {said} {count}" for (true, said), count in wrong.items())
        table.add_row(kind, str(len(here)), *right, told)
    console_for(120).print(table)


def main() -> None:
    """Console entry."""
    enter(calibrate, "calibrate", CalibrateConfig)


if __name__ == "__main__":
    main()
