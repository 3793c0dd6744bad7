"""One folder, one configuration: opening it, finding it finished, finishing it."""

import errno
import fcntl
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from tacit.errors import ConfigError, RunDirError
from tacit.rundir.files import write_atomic

IN_USE = "is in use by another process"
LONGEST_NAME = 200  # bytes; file systems take 255, and files beside it have longer names
IfExists = Literal["resume", "raise", "new"]
PACKAGES = ("tacit", "torch", "transformers", "peft", "datasets", "inspect_ai")


def run_key(config: Mapping[str, Any]) -> str:
    """Return a short key of a resolved configuration: equal configs, equal keys."""
    canonical = json.dumps(config, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@dataclass(frozen=True)
class RunDir:
    """A folder that belongs to one configuration."""

    path: Path
    key: str
    config: Mapping[str, Any]

    @property
    def manifest_path(self) -> Path:
        """The completion marker: written last, by `finish`."""
        return self.path / "manifest.json"

    @property
    def is_finished(self) -> bool:
        """Whether a manifest of this configuration is there."""
        return self.manifest_path.is_file()

    def finish(self, **facts: Any) -> None:
        """Write the manifest, last of all files."""
        record = {"run_key": self.key, **facts, "config": self.config, "versions": versions()}
        write_atomic(self.manifest_path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += _difference(before, after, f"{prefix}{name}.")
        elif before != after:
            lines.append(f"{prefix}{name}: {before!r} there, {after!r} now")
    return lines


def _recorded(path: Path) -> dict[str, Any] | None:
    for name in ("run.json", "manifest.json"):
        if (path / name).is_file():
            try:
                record: dict[str, Any] = json.loads((path / name).read_text(encoding="utf-8"))
            except ValueError:
                raise RunDirError(
                    f"{path / name} is damaged: move the folder away, then run again"
                ) from None
            return record
    return None


def _refuse_bad_name(path: Path) -> None:
    if any(len(part.encode()) > LONGEST_NAME or not part.isprintable() for part in path.parts):
        raise RunDirError(
            f"{str(path)[:60]!r}… is no name for a folder: choose a printable one of at most "
            f"{LONGEST_NAME} bytes"
        )


def open_run(
    path: Path, config: Mapping[str, Any], behavior_if_exists: IfExists = "resume"
) -> RunDir:
    """Open the folder of a run, or make it.

    Args:
        path: The folder.
        config: The resolved configuration; what decides the result and nothing else.
        behavior_if_exists: `resume` continues a run of the same configuration, `raise` refuses
            any folder that holds a run, `new` takes the next free name (`path-2`, `path-3`, …).

    Raises:
        RunDirError: the folder holds another configuration, or cannot be written.
        ConfigError: `behavior_if_exists` is none of the three words.
    """
    if behavior_if_exists not in ("resume", "raise", "new"):
        raise ConfigError(f"behavior_if_exists={behavior_if_exists!r}: choose resume, raise or new")
    _refuse_bad_name(path)
    key = run_key(config)
    recorded = _recorded(path)
    if recorded is not None and behavior_if_exists == "new":
        number = 2
        while _recorded(path.with_name(f"{path.name}-{number}")) is not None:
            number += 1
        path, recorded = path.with_name(f"{path.name}-{number}"), None
    if recorded is not None and behavior_if_exists == "raise":
        raise RunDirError(
            f"{path} holds a run already: choose another folder or behavior_if_exists=resume"
        )
    if recorded is not None and recorded.get("run_key") != key:
        changes = "; ".join(_difference(recorded.get("config", {}), config)[:3])
        raise RunDirError(
            f"{path} holds another configuration ({changes}): choose another folder, "
            "or behavior_if_exists=new"
        )
    run = RunDir(path, key, config)
    if recorded is None:
        try:
            path.mkdir(parents=True, exist_ok=True)
            record = {"run_key": key, "config": config, "versions": versions()}
            write_atomic(path / "run.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RunDirError(
                f"{path} cannot be written ({error.strerror}): choose another folder"
            ) from None
    return run


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a folder for one process.

    Raises:
        RunDirError: another process holds it.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunDirError(f"{path} {IN_USE}: wait for it, or choose another folder") from None
        yield
