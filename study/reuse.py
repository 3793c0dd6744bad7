"""Taking over parts that another study finished: what is the same is made once."""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from study.parts import is_done, rebased, record_path
from study.plan import Step
from tacit.errors import ConfigError
from tacit.rundir import write_atomic


def take_over(
    study: Path, steps: Sequence[Step], folders: Sequence[str]
) -> list[tuple[Step, Path]]:
    """Copy into a study each part that one of the folders holds, of the same configuration.

    A part that this study has, finished or begun, is left alone, and so is what rests on one that
    differs between the two: an adapter on other documents, a measurement of another adapter.

    Returns:
        The steps that were taken over, each with the study it came from.

    Raises:
        ConfigError: a folder holds no study.
    """
    others = [_study_at(folder) for folder in folders]
    by_id = {step.id: step for step in steps}
    taken = []
    for step in steps:
        if step.out.exists():
            continue
        for other in others:
            theirs = rebased(step, study, other)
            rests_on = [(by_id[need], rebased(by_id[need], study, other)) for need in step.needs]
            if is_done(other, theirs) and all(_same(own, its) for own, its in rests_on):
                _copy(theirs.out, step.out)
                record = json.loads(record_path(other, theirs).read_text(encoding="utf-8"))
                record |= {"command": step.command, "reused_from": str(other)}
                write_atomic(record_path(study, step), json.dumps(record, indent=1) + "\n")
                taken.append((step, other))
                break
    return taken


def check_reuse(folders: Iterable[str]) -> None:
    """Refuse a folder that holds no study.

    Raises:
        ConfigError: the message names it.
    """
    for folder in folders:
        _study_at(folder)


def _study_at(folder: str) -> Path:
    path = Path(folder)
    if not (path / "steps").is_dir():
        raise ConfigError(f"reuse={folder}: no study has finished a part there")
    return path


def _same(own: Step, theirs: Step) -> bool:
    """Whether two studies hold the very same part."""
    manifests = [step.out / "manifest.json" for step in (own, theirs)]
    if not all(path.is_file() for path in manifests):
        return False
    return manifests[0].read_bytes() == manifests[1].read_bytes()


def _copy(source: Path, target: Path) -> None:
    """Copy a folder so that it is there whole or not at all."""
    beside = target.with_name(f".{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside, ignore=shutil.ignore_patterns(".lock"))
    beside.rename(target)
