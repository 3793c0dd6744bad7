"""Labels that people gave: the transcripts they see, their journals, and how far they agree."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from eval.scorers.agreement import Interval, kappa_interval
from eval.scorers.logs import log_files, transcripts_of
from eval.scorers.records import CHOICES, Transcript
from tacit.errors import ConfigError, CorpusError
from tacit.rundir import read_jsonl

GIVEN = "labels of the file"


class Item(NamedTuple):
    """A transcript to be labelled; `labels` are those it came with, which nobody is shown."""

    id: str
    transcript: Transcript
    labels: dict[str, str]


class Agreement(NamedTuple):
    """How far two labellers agree on one scorer's labels, over what both have labelled."""

    scorer: str
    first: str
    second: str
    shared: int
    same: int
    kappa: Interval


def items_of(path: Path, limit: int | None, seed: int) -> list[Item]:
    """Return the transcripts of JSON lines or of Inspect logs, in an order drawn from the seed.

    The order is the same for all who label them, and says nothing of how they were made.

    Raises:
        CorpusError: nothing there, or a record without `id` and `output`.
        LogError: a log that cannot be read.
    """
    if path.suffix == ".jsonl":
        found = list(_from_lines(path))
    else:
        found = [
            Item(f"{one.log}/{one.sample}/{one.epoch}", one.transcript, {})
            for log in log_files([str(path)])
            for one in transcripts_of(log)
        ]
    if not found:
        raise CorpusError(f"no transcripts in {path}")
    if len({item.id for item in found}) < len(found):
        raise CorpusError(f"{path}: ids are repeated, so labels could not be told apart")
    Random(seed).shuffle(found)
    return found[:limit]


def _from_lines(path: Path) -> Iterator[Item]:
    if not path.is_file():
        raise CorpusError(f"no transcripts at {path}: give a .jsonl file or Inspect logs")
    for number, one in enumerate(read_jsonl(path), start=1):
        if not isinstance(one.get("id"), str) or not isinstance(one.get("output"), str):
            raise CorpusError(f"{path}:{number}: a record needs `id` and `output`")
        transcript = Transcript(
            str(one.get("query", "")),
            str(one.get("tier", "unknown")),
            one["output"],
            bool(one.get("scratchpad", True)),
        )
        given = one.get("labels") or {}
        if not isinstance(given, dict):
            raise CorpusError(f"{path}:{number}: `labels` has to be an object")
        labels = {name: str(value) for name, value in given.items() if name in CHOICES}
        yield Item(one["id"], transcript, labels)


def journal_path(out: Path, path: Path, labeller: str) -> Path:
    """Return where a labeller's labels of a file are kept.

    Raises:
        ConfigError: a name that cannot be a file's.
    """
    if not labeller.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(f"labeller={labeller!r}: letters, digits, - and _ only")
    return out / path.stem / f"{labeller}.jsonl"


def all_labels(out: Path, path: Path, items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """Return each labeller's labels by transcript, those the file came with among them.

    Raises:
        CorpusError: a file among the labellers' that holds something else.
    """
    known = {item.id for item in items}
    found: dict[str, dict[str, Any]] = {}
    given = {item.id: item.labels for item in items if item.labels}
    if given:
        found[GIVEN] = given
    for journal in sorted((out / path.stem).glob("*.jsonl")):
        records = list(read_jsonl(journal, journal=True))
        if not all(isinstance(r.get("labels"), dict) and "id" in r for r in records):
            raise CorpusError(f"{journal} holds no labels: move it out of the folder")
        found[journal.stem] = {r["id"]: r["labels"] for r in records if r["id"] in known}
    return found


def agreements(labels: dict[str, dict[str, Any]], scorers: Sequence[str]) -> Iterator[Agreement]:
    """Yield the agreement of each pair of labellers, for each scorer both have labels of."""
    for first, second in combinations(labels, 2):
        for scorer in scorers:
            shared = [
                (labels[first][one][scorer], labels[second][one][scorer])
                for one in labels[first]
                if scorer in labels[first][one] and scorer in labels[second].get(one, {})
            ]
            if shared:
                mine, theirs = zip(*shared, strict=True)
                same = sum(a == b for a, b in shared)
                interval = kappa_interval(mine, theirs)
                yield Agreement(scorer, first, second, len(shared), same, interval)
