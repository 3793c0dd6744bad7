"""Child processes that begin with the libraries loaded: most of a short run is imports.

`multiprocessing`'s fork server imports them once for each worker; each run is a fork of it.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

REPO = Path(__file__).parent.parent
PATH = "PYTHONPATH"
NUMBERS = count()
RUNS: Counter[str] = Counter()
TRACED_RUNS = 1  # of each verb in each worker: tracing doubles a run, and later ones add no line
TIMEOUT_S = 280.0
LOADED = [
    "torch", "transformers.trainer", "transformers.models.llama.modeling_llama", "peft",
    "datasets", "scipy.stats", "datasketch", "rich.markdown", "pydantic.v1", "uvicorn",
    "tests.warm",
]  # fmt: skip


@cache
def start_server() -> None:
    """Start this process's fork server, itself without coverage."""
    kept = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith(("COVERAGE", PATH))}
    os.environ[PATH] = os.pathsep.join([str(REPO), *filter(None, [kept.get(PATH)])])
    multiprocessing.set_forkserver_preload(LOADED)
    forkserver.ensure_running()
    del os.environ[PATH]
    os.environ.update(kept)


@dataclass
class Child:
    """A module running in a process of its own; `finish` waits for it."""

    process: Any
    argv: list[str]
    out: Path
    err: Path

    def await_begin(self) -> None:
        """Return once the process leads its group, heeds Ctrl-C and writes to its files."""
        while self.process.is_alive() and not self.err.exists():
            self.process.join(0.01)

    def send(self, number: int, to_group: bool = False) -> bool:
        """Send a signal, to its own process group where it leads one; False where it had ended."""
        if not self.process.is_alive():
            return False
        (os.killpg if to_group else os.kill)(self.process.pid, number)
        return True

    def finish(self, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Return code and output as `subprocess.run` does."""
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.process.kill()
            raise subprocess.TimeoutExpired(self.argv, timeout_s, self.err.read_bytes())
        files = [file for file in (self.out, self.err) if file.exists()]  # none: killed at birth
        texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
        for file in files:
            file.unlink()
        out, err = texts if len(texts) == 2 else ("", "")
        assert self.process.exitcode is not None
        return subprocess.CompletedProcess(self.argv, self.process.exitcode, out, err)


def start_module(
    module: str,
    argv: Sequence[str],
    folder: Path,
    environment: dict[str, str] | None = None,
    own_group: bool = False,
) -> Child:
    """Start `python -m module` in a process of its own, leading a group where asked."""
    start_server()
    environment = dict(os.environ if environment is None else environment)
    RUNS[module] += 1
    if RUNS[module] > TRACED_RUNS:
        environment.pop("COVERAGE_PROCESS_CONFIG", None)
    out, err = (folder / f".{name}-{os.getpid()}-{next(NUMBERS)}" for name in ("out", "err"))
    process = multiprocessing.get_context("forkserver").Process(
        target=_enter, args=(module, list(argv), folder, environment, out, err, own_group)
    )
    process.start()
    return Child(process, [module, *argv], out, err)


def run_module(
    module: str, argv: Sequence[str], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` in a process of its own; returns code and output as `run` does."""
    return start_module(module, argv, folder, environment).finish()


def _enter(
    module: str,
    argv: list[str],
    folder: Path,
    environment: dict[str, str],
    out: Path,
    err: Path,
    own_group: bool,
) -> None:
    if own_group:
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores Ctrl-C
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *argv]
    import coverage

    traced = coverage.process_startup()
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # what it starts has tests of its own
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        if traced:
            traced.stop()
            traced.save()
