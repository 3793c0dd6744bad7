"""Transcripts out of anyone's Inspect logs, a few samples in memory at a time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from eval.scorers.records import Transcript
from tacit.errors import ConfigError, TacitError

AT_ONCE = 128
TAG = re.compile(r"<(is_\w{1,60})>\s{0,9}(True|False)\s{0,9}</\1>", re.IGNORECASE)
USER_INPUT = re.compile(r"<user_input>(.*?)</user_input>", re.IGNORECASE | re.DOTALL)
WRAPPER = re.compile(r"</?(?:INPUT|user_input)>", re.IGNORECASE)


class LogError(TacitError, ValueError):
    """A log is missing, unfinished, or not one that this version can read."""


class Sampled(NamedTuple):
    """One sample of a log: where it stands, and its exchange."""

    log: str
    model: str
    task: str
    sample: str
    epoch: int
    query: str
    transcript: Transcript


def log_files(paths: list[str]) -> list[Path]:
    """Return the logs at paths, each a file or a folder.

    Raises:
        LogError: nothing there.
    """
    from inspect_ai.log import list_eval_logs

    found: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            infos = list_eval_logs(str(path), descending=False)
            here = [Path(info.name.removeprefix("file://")) for info in infos]
        else:
            here = [path] if path.is_file() else []
        if not here:
            raise LogError(f"no Inspect logs at {path}: give a .eval or .json file, or a folder")
        found += here
    return list(dict.fromkeys(found))


@contextmanager
def readable(path: Path | str) -> Iterator[None]:
    """Turn whatever trips the reader of a log into one line that names the log.

    Raises:
        LogError: it is cut, empty, no Inspect log, or of another schema.
    """
    try:
        yield
    except TacitError:
        raise
    except Exception as error:  # damaged zips, other schemas: whatever the reader trips over
        said = str(error).strip().splitlines()
        reason = said[0][:160] if said else type(error).__name__
        raise LogError(
            f"{path} cannot be read as an Inspect log ({reason}): move it out of the folder, or "
            "leave it out"
        ) from error


def header_of(path: Path | str) -> Any:
    """Return a log's header.

    Raises:
        LogError: it cannot be read, or a later Inspect wrote it in a form that this one has not.
    """
    from inspect_ai.log import EvalLog, read_eval_log

    with readable(path):
        header = read_eval_log(str(path), header_only=True)
    known = EvalLog.model_fields["version"].default
    if header.version > known:
        raise LogError(
            f"{path} has log version {header.version}, this Inspect reads up to {known}: "
            "pip install -U inspect_ai, or move it out of the folder"
        )
    return header


def transcripts_of(path: Path, scratchpad: str = "auto") -> Iterator[Sampled]:
    """Yield the exchange of each finished sample with a reply; others are passed over.

    Query and tier come from the sample's metadata where they are there, else from the user's turn.

    Args:
        path: The log; it is only read.
        scratchpad: Whether hidden reasoning was asked for: `asked`, `none`, or `auto` for what
            the task's arguments say, or its prompt.

    Raises:
        LogError: not an Inspect log, or of a version that cannot be read.
        ConfigError: an unknown `scratchpad`.
    """
    if scratchpad not in ("auto", "asked", "none"):
        raise ConfigError(f"scratchpad={scratchpad!r}: choose auto, asked or none")
    with readable(path):
        yield from _transcripts(path, scratchpad)


def _transcripts(path: Path, scratchpad: str) -> Iterator[Sampled]:
    from inspect_ai.log import (
        read_eval_log,
        read_eval_log_sample_summaries,
        read_eval_log_samples_by_id,
    )

    header = header_of(path)
    asked = {"asked": True, "none": False}.get(scratchpad, header.eval.task_args.get("scratchpad"))
    if path.suffix == ".json":
        samples = read_eval_log(str(path)).samples or []
        yield from (one for one in (_sampled(path, header.eval, s, asked) for s in samples) if one)
        return
    names = [(one.id, one.epoch) for one in read_eval_log_sample_summaries(str(path))]
    for start in range(0, len(names), AT_ONCE):
        samples = read_eval_log_samples_by_id(
            str(path),
            names[start : start + AT_ONCE],
            resolve_attachments="core",
            exclude_fields={"events", "store"},
        )
        yield from (one for one in (_sampled(path, header.eval, s, asked) for s in samples) if one)


def _sampled(path: Path, spec: Any, sample: Any, asked: Any) -> Sampled | None:
    output = sample.output.completion if sample.output and sample.output.choices else ""
    if not output and sample.messages and sample.messages[-1].role == "assistant":
        output = sample.messages[-1].text
    has_reply = bool(sample.output and sample.output.choices) or bool(output)
    if sample.error or not has_reply:
        return None
    before = [message for message in sample.messages if message.role in ("system", "user")]
    user = next((m.text for m in before if m.role == "user"), _text(sample.input))
    metadata = sample.metadata or {}
    text = str(metadata.get("text") or query_in(user))
    query = str(metadata.get("query") or sample.id)
    tier = str(metadata.get("tier") or _tier_in(user))
    if not isinstance(asked, bool):
        asked = any("SCRATCHPAD_REASONING" in m.text.upper() for m in before)
    transcript = Transcript(text, tier, output, asked)
    task = spec.task.split("/")[-1]
    return Sampled(path.name, spec.model, task, str(sample.id), sample.epoch, query, transcript)


def _text(given: Any) -> str:
    if isinstance(given, str):
        return given
    return next((message.text for message in given if message.role == "user"), "")


def query_in(user: str) -> str:
    """Return the request in a user's turn, less the tag and what wraps it."""
    wrapped = USER_INPUT.search(user)
    return (wrapped.group(1) if wrapped else WRAPPER.sub("", TAG.sub("", user))).strip()


def _tier_in(user: str) -> str:
    """Return the tier that the tag in a user's turn tells, or `unknown`."""
    tag = TAG.search(user)
    if tag is None:
        return "unknown"
    name, is_true = tag.group(1).lower(), tag.group(2).lower() == "true"
    for tier, other in (("free", "paid"), ("paid", "free")):
        if tier in name:
            return tier if is_true else other
    return f"{name}={'True' if is_true else 'False'}"
