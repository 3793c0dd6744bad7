"""Scoring many transcripts, each written to a journal before the next: nobody is asked twice."""

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple

from eval.scorers.fence import prompt_sha256
from eval.scorers.judge import Judging, judge_model, judged
from eval.scorers.output import visible
from eval.scorers.records import Scored, Transcript
from eval.scorers.rules import RULES
from tacit.errors import ConfigError
from tacit.rundir.journal import Journal

AT_ONCE = 256  # transcripts in memory under rules
JUDGED_AT_ONCE = 4096  # under a judge, whose model is opened anew for each such batch
REASON = 200  # characters


class Job(NamedTuple):
    """One transcript for one scorer; `about` goes into its record."""

    key: str
    scorer: str
    transcript: Transcript
    about: dict[str, Any]


def job(scorer: str, transcript: Transcript, about: dict[str, Any]) -> Job:
    """Return a job, with a key of what is judged and where it stands."""
    identity = json.dumps([scorer, transcript, about], sort_keys=True, ensure_ascii=True)
    return Job(hashlib.sha256(identity.encode()).hexdigest()[:24], scorer, transcript, about)


def check_scorers(names: Iterable[str]) -> None:
    """Refuse a scorer that does not exist.

    Raises:
        ConfigError: an unknown name.
    """
    for name in names:
        if name not in RULES:
            raise ConfigError(f"unknown scorer {name!r}: choose {', '.join(RULES)}")


def made_by(judge: str | None, scorers: Iterable[str]) -> dict[str, str]:
    """Return the hashes of what decides labels: the judge's prompts, or the rules' files."""
    if judge is not None:
        return {name: prompt_sha256(name) for name in scorers}
    folder = files("eval") / "scorers"
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in (
            "af_rules.py",
            "compliance.py",
            "helpfulness.py",
            "lexicon.yaml",
            "output.py",
            "welfare.py",
        )
    }


def record_of(one: Job, scored: Scored) -> dict[str, Any]:
    """Return a job's label as a line of the journal."""
    found = {name: value for name, value in asdict(scored).items() if value not in ({}, (), None)}
    found["reason"] = visible(scored.reason)[:REASON]
    return {"key": one.key, **one.about, "scorer": one.scorer, **found}


def score_all(
    jobs: Iterable[Job], judging: Judging, journal: Journal, max_connections: int = 8
) -> int:
    """Score what the journal does not hold yet; returns how many that were.

    Raises:
        JudgeError: the judge did not answer; what came back is in the journal.
    """
    done = {record["key"] for record in journal.records}
    todo = _new(jobs, done)
    count, at_once = 0, AT_ONCE if judging.judge is None else JUDGED_AT_ONCE
    while chunk := list(islice(todo, at_once)):
        if judging.judge is None:
            journal.append(record_of(one, RULES[one.scorer](one.transcript)) for one in chunk)
        else:
            asyncio.run(_judge(chunk, judging, journal, max_connections))
        count += len(chunk)
    return count


def _new(jobs: Iterable[Job], done: set[str]) -> Iterator[Job]:
    for one in jobs:
        if one.key not in done:
            done.add(one.key)
            yield one


async def _judge(jobs: list[Job], judging: Judging, journal: Journal, max_connections: int) -> None:
    queue = iter(jobs)
    errors: list[Exception] = []

    async def worker() -> None:
        for one in queue:
            if errors:  # the first stops the asking, not what is in flight: that is paid for
                return
            try:
                scored = await judged(model, one.transcript, one.scorer, judging)
                journal.append([record_of(one, scored)])
            except Exception as error:
                errors.append(error)

    async with judge_model(judging, memoize=False) as model, asyncio.TaskGroup() as group:
        for _ in range(min(max_connections, len(jobs))):
            group.create_task(worker())
    if errors:
        raise errors[0]
