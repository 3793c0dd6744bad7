"""Child processes that begin with the libraries loaded: most of a short run is imports.

`multiprocessing`'s fork server imports them once for each worker; each run is a fork of it.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from multiprocessing import forkserver
from pathlib import Path

TIMEOUT_S = 280.0
LOADED = ["torch", "transformers", "peft", "datasets", "hydra.main", "inspect_ai", "scipy.stats"]


@cache
def start_server() -> None:
    """Start this process's fork server, itself without coverage."""
    traced = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith("COVERAGE")}
    multiprocessing.set_forkserver_preload(LOADED)
    forkserver.ensure_running()
    os.environ.update(traced)


def run_module(
    module: str, argv: Sequence[str], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` in a process of its own; returns code and output as `run` does."""
    start_server()
    environment = dict(os.environ) if environment is None else environment
    files = [folder / f".{name}-{os.getpid()}" for name in ("out", "err")]
    child = multiprocessing.get_context("forkserver").Process(
        target=_enter, args=(module, list(argv), folder, environment, *files)
    )
    child.start()
    child.join(TIMEOUT_S)
    if child.is_alive():
        child.kill()
        raise subprocess.TimeoutExpired([module, *argv], TIMEOUT_S, files[1].read_bytes())
    out, err = (file.read_text(encoding="utf-8") for file in files)
    for file in files:
        file.unlink()
    assert child.exitcode is not None
    return subprocess.CompletedProcess([module, *argv], child.exitcode, out, err)


def _enter(
    module: str, argv: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path
) -> None:
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
