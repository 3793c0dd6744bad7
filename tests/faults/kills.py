"""Killing a verb at a random moment, and the same command again until it ends by itself."""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests.children import run_module, start_module

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT)  # two kills for one Ctrl-C
EARLIEST = 0.1  # share of an undisturbed run: before that a process only starts


@dataclass(frozen=True)
class Killed:
    """What happened to one run: the signals that hit it, and how its last process ended."""

    signals: list[signal.Signals]
    last: CompletedProcess[str]


def environment() -> dict[str, str]:
    """Return this process's environment without coverage: what is killed can not save it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    return {**kept, "TOKENIZERS_PARALLELISM": "false"}


def timed_run(module: str, argv: Sequence[str], folder: Path) -> float:
    """Run a command undisturbed; returns its seconds, the tests' server being up already."""
    run_module("keyword", [], folder, environment())
    started = time.monotonic()
    done = run_module(module, argv, folder, environment())
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started


def killed_run(
    module: str,
    argv: Sequence[str],
    folder: Path,
    seed: int,
    seconds: float,
    at_kill: Callable[[], None] = lambda: None,
    whole_group: bool = True,
) -> Killed:
    """Kill a command at moments drawn from `seed`, once to three times, then let it finish.

    Args:
        module: A verb.
        argv: Its arguments.
        folder: Where it runs.
        seed: Decides signals and moments.
        seconds: How long the undisturbed run takes.
        at_kill: Called when a process is dead, before the next one starts.
        whole_group: Whether the signal goes to the process's children too.
    """
    rng = random.Random(seed)
    wanted = rng.choice((1, 1, 1, 2, 3))
    hit: list[signal.Signals] = []
    for _ in range(wanted):
        number = rng.choice(SIGNALS)
        moment = rng.uniform(EARLIEST, 0.95) * seconds
        child = start_module(module, argv, folder, environment(), own_group=True)
        child.await_begin()
        child.process.join(moment)
        # What ends before its kill was not killed, and is not counted.
        sent = child.send(number, whole_group)
        done = child.finish()
        if sent and done.returncode != 0:
            assert _ended_by(number, done), (
                f"{number.name} after {moment:.2f} s: exit {done.returncode}\n{done.stderr}"
            )
            hit.append(number)
            at_kill()
        if done.returncode == 0:
            break
    last = run_module(module, argv, folder, environment())
    assert last.returncode == 0, f"after {hit}: {last.stdout}\n{last.stderr}"
    return Killed(hit, last)


def _ended_by(number: signal.Signals, done: CompletedProcess[str]) -> bool:
    """Whether a process ended as a signal should end it; outside the door Python says so itself."""
    if number == signal.SIGKILL:
        return done.returncode == -9
    is_pythons = "KeyboardInterrupt" in done.stderr and "door.py" not in done.stderr
    return done.returncode == 130 or is_pythons


def contents(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return the bytes of the named files of a folder."""
    return {name: (folder / name).read_bytes() for name in names}
