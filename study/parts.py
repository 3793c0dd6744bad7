"""The parts of a study on disk: which steps are done, how long they took, and whose they are."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from study.plan import VERBS, Step, slug
from tacit.errors import RunDirError
from tacit.rundir import run_key, sha256_of, write_atomic
from tacit.rundir.run import IN_USE


@dataclass(frozen=True)
class Hole:
    """A part that is missing, and why."""

    kind: str
    name: str
    why: str
    log: str = ""

    def record(self) -> dict[str, str]:
        """Return the JSON object."""
        return dict(self.__dict__)


def key_of(step: Step, study: Path) -> str:
    """Return the key of a step's configuration: the same wherever the study's folder lies."""
    said = [one.replace(str(study), "{study}") for one in step.overrides]
    return run_key({"verb": VERBS[step.kind], "overrides": said})


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunDirError(f"{path} is damaged or gone: move its folder away, run again") from None
    return found


def record_path(study: Path, step: Step) -> Path:
    """Return where it is written how a step ended."""
    return study / "steps" / f"{step.kind}-{slug(step.name)}.json"


def rebased(step: Step, study: Path, other: Path) -> Step:
    """Return the same step of another study."""
    said = tuple(one.replace(str(study), str(other)) for one in step.overrides)
    return replace(step, overrides=said, out=other / step.out.relative_to(study))


def log_path(study: Path, step: Step) -> Path:
    """Return where a step's output goes."""
    return study / "logs" / f"{step.kind}-{step.out.name}.log"


def argv(step: Step) -> list[str]:
    """Return the command as this interpreter runs it."""
    if step.processes > 1:
        return [sys.executable, "-m", "torch.distributed.run", *step.words[1:]]
    return [sys.executable, *step.words[1:]]


def is_done(study: Path, step: Step) -> bool:
    """Whether this very step finished; another configuration's folder does not count."""
    path = record_path(study, step)
    if not path.is_file() or not (step.out / "manifest.json").is_file():
        return False
    record = _json(path)
    return record.get("status") == "done" and record.get("key") == key_of(step, study)


def conclude_step(study: Path, step: Step, code: int, seconds: float) -> Hole | None:
    """Write down how a step ended; returns the hole it leaves, if it failed."""
    record: dict[str, Any] = {
        "kind": step.kind,
        "name": step.name,
        "key": key_of(step, study),
        "command": step.command,
        "seconds": round(seconds, 1),
        "status": "failed" if code else "done",
    }
    if code:
        own = log_path(study, step)
        jobs = study / "logs" / "launcher.log"
        record["why"] = _complaint(own if own.is_file() else jobs, code)
    else:
        record["run_key"] = _json(step.out / "manifest.json").get("run_key")
    write_atomic(record_path(study, step), json.dumps(record, indent=1) + "\n")
    return hole_of(study, step)


def hole_of(study: Path, step: Step) -> Hole | None:
    """Return the hole a failed step left, or None."""
    path = record_path(study, step)
    record = _json(path) if path.is_file() else {}
    if record.get("status") != "failed":
        return None
    return Hole(step.kind, step.name, str(record["why"]), str(log_path(study, step)))


def was_second(study: Path, step: Step) -> bool:
    """Whether a step that failed found its folder or journal taken by another process."""
    return IN_USE in _complaint(log_path(study, step), 1)


def _complaint(log: Path, code: int) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error:")]
    last = said or lines
    return last[-1] if last else f"it said nothing (exit {code})"


def holes(study: Path, steps: Sequence[Step]) -> list[Hole]:
    """Return every part that is missing: failed by itself, or for want of another."""
    failed: dict[str, Hole] = {}
    for step in steps:
        if is_done(study, step):
            continue
        missing = [need for need in step.needs if need in failed]
        own = hole_of(study, step)
        why = f"there is no {missing[0]}" if missing else "it did not run"
        failed[step.id] = own if own and not missing else Hole(step.kind, step.name, why)
    return list(failed.values())


def timings(study: Path, steps: Iterable[Step]) -> dict[str, dict[str, float]]:
    """Return the seconds each finished step took, by kind and name."""
    found: dict[str, dict[str, float]] = {}
    for step in steps:
        if is_done(study, step):
            seconds = float(_json(record_path(study, step))["seconds"])
            found.setdefault(step.kind, {})[step.name] = seconds
    return found


def check_parts(study: Path, steps: Sequence[Step]) -> None:
    """Refuse a folder whose parts come from different configurations.

    Raises:
        RunDirError: a part is not the one this study made, an adapter was trained on other
            documents, or an evaluation measured another adapter; the message names the folder.
    """
    by_id = {step.id: step for step in steps}
    for step in steps:
        if not is_done(study, step):
            continue
        manifest = _json(step.out / "manifest.json")
        wanted = _json(record_path(study, step)).get("run_key")
        if manifest.get("run_key") != wanted:
            raise RunDirError(
                f"{step.out} comes from another configuration (key {manifest.get('run_key')}; "
                f"this study's has {wanted}): move it away, the same command makes it again"
            )
        for need in step.needs:
            source = by_id[need].out
            if not (source / "manifest.json").is_file():
                continue
            if step.kind == "adapter":
                used = manifest.get("corpus", {}).get("sha256")
                there: str | None = sha256_of(source / "manifest.json")
            else:
                used = manifest.get("config", {}).get("adapter_sha256")
                there = _json(source / "manifest.json").get("adapter_sha256")
            if used and there and used != there:
                raise RunDirError(
                    f"{step.out} was made from another {by_id[need].kind} than {source} holds now: "
                    f"move {step.out} away, the same command makes it again"
                )
