"""Running the steps: each as its own command, as soon as what it needs is there."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from study.parts import argv, conclude_step, is_done, log_path, was_second
from study.plan import Step
from tacit.rundir import write_atomic

POLL_SECONDS = 0.2
END_SECONDS = 20.0


@dataclass
class State:
    """Where one step stands: waiting, held, running, have, done, failed or blocked."""

    word: str = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    why: str = ""


class Watcher(Protocol):
    """Who is told of what happens."""

    def changed(self, step: Step, state: State) -> None:
        """Learn that a step's state changed."""

    def tick(self) -> None:
        """Learn that some time passed."""


def ready(steps: Sequence[Step], states: dict[str, State]) -> list[Step]:
    """Return the steps that wait for nothing any more."""
    there = {name for name, state in states.items() if state.word in ("have", "done")}
    return [
        step
        for step in steps
        if states[step.id].word in ("waiting", "held") and set(step.needs) <= there
    ]


def _block(steps: Sequence[Step], states: dict[str, State], watcher: Watcher) -> None:
    """Mark the steps whose need will not be met."""
    for step in steps:
        lost = [need for need in step.needs if states[need].word in ("failed", "blocked")]
        if lost and states[step.id].word == "waiting":
            states[step.id].word, states[step.id].why = "blocked", f"there is no {lost[0]}"
            watcher.changed(step, states[step.id])


def begin(study: Path, steps: Sequence[Step], watcher: Watcher) -> dict[str, State]:
    """Return every step's state, and tell which are there already."""
    states = {step.id: State() for step in steps}
    for step in steps:
        if is_done(study, step):
            states[step.id].word = "have"
            watcher.changed(step, states[step.id])
    return states


def _waits(step: Step, running: Iterable[Step]) -> bool:
    """Whether a step's journal is another's that runs, which may not have taken it yet."""
    return bool(step.journal) and any(other.journal == step.journal for other in running)


def _is_held(step: Step) -> bool:
    """Whether another process works in a step's folder or journal: one of an earlier call."""
    return any(_is_locked(Path(one)) for one in (step.out, step.journal) if one)


def _is_locked(folder: Path) -> bool:
    path = folder / ".lock"
    if not path.is_file():
        return False
    with path.open("r+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def run_side_by_side(study: Path, steps: Sequence[Step], workers: int, watcher: Watcher) -> None:
    """Run what is missing, up to `workers` commands at a time.

    A step that fails takes with it those that need it; the others go on.
    """
    states = begin(study, steps, watcher)
    running: dict[str, tuple[Step, subprocess.Popen[bytes]]] = {}
    with _ended(running):
        while True:
            for step in ready(steps, states):
                if len(running) >= workers:
                    break
                state = states[step.id]
                if _waits(step, (other for other, _ in running.values())):
                    continue
                if _is_held(step):
                    if state.word != "held":
                        state.word = "held"
                        watcher.changed(step, state)
                    continue
                state.word, state.started = "running", time.monotonic()
                left = sum(s.word in ("waiting", "held", "running") for s in states.values())
                running[step.id] = step, _start(study, step, max(1, min(workers, left)))
                watcher.changed(step, state)
            if not running and not ready(steps, states):
                return
            time.sleep(POLL_SECONDS)
            watcher.tick()
            for step, child in list(running.values()):
                if child.poll() is None:
                    continue
                del running[step.id]
                state = states[step.id]
                state.seconds = time.monotonic() - state.started
                if child.returncode and (_is_held(step) or was_second(study, step)):
                    # A process of an earlier call, still loading when this one looked, was first;
                    # it may have ended since.
                    state.word = "held"
                    watcher.changed(step, state)
                    continue
                hole = conclude_step(study, step, child.returncode, state.seconds)
                state.word, state.why = ("failed", hole.why) if hole else ("done", "")
                watcher.changed(step, state)
                _block(steps, states, watcher)


def _start(study: Path, step: Step, beside: int) -> "subprocess.Popen[bytes]":
    threads = str(max(1, (os.cpu_count() or 1) // beside))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
    log = log_path(study, step)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            argv(step), stdout=output, stderr=subprocess.STDOUT, env=environment
        )


@contextmanager
def _ended(running: dict[str, tuple[Step, "subprocess.Popen[bytes]"]]) -> Iterator[None]:
    """Leave no command running behind an interrupt, or behind a plain `kill` or `scancel`."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if is_main else None
    try:
        yield
    finally:
        for _, child in running.values():
            child.terminate()
        for _, child in running.values():
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
        if is_main:
            signal.signal(signal.SIGTERM, before)


def run_by_launcher(
    study: Path, steps: Sequence[Step], launcher: str, arguments: Sequence[str], watcher: Watcher
) -> None:
    """Run what is missing as jobs of a Hydra launcher, all that are ready in one sweep.

    The jobs read `plan.json` in the study's folder, which every machine must see.
    """
    write_plan(study, steps)
    states = begin(study, steps, watcher)
    while free := ready(steps, states):
        wave = [step for n, step in enumerate(free) if not _waits(step, free[:n])]
        for step in wave:
            states[step.id].word, states[step.id].started = "running", time.monotonic()
            watcher.changed(step, states[step.id])
        numbers = ",".join(str(steps.index(step)) for step in wave)
        sweep = [
            "--multirun", f"hydra/launcher={launcher}", *arguments,
            f"study={study.absolute()}", f"step={numbers}",
        ]  # fmt: skip
        log = study / "logs" / "launcher.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "study.step", *sweep], stdout=output,
                stderr=subprocess.STDOUT, start_new_session=False,
            )  # fmt: skip
            with _ended({"sweep": (wave[0], child)}):
                while child.poll() is None:
                    time.sleep(POLL_SECONDS)
                    watcher.tick()
        for step in wave:
            state = states[step.id]
            state.seconds = time.monotonic() - state.started
            if is_done(study, step):
                state.word = "done"
            else:
                hole = conclude_step(study, step, child.returncode or 1, state.seconds)
                state.word, state.why = "failed", hole.why if hole else ""
            watcher.changed(step, state)
            _block(steps, states, watcher)


def write_plan(study: Path, steps: Sequence[Step]) -> None:
    """Write the steps where jobs on other machines find them."""
    record = {
        "folder": str(Path.cwd()),
        "study": str(study),
        "steps": [{**asdict(step), "out": str(step.out)} for step in steps],
    }
    write_atomic(study / "plan.json", json.dumps(record, indent=1) + "\n")


def read_plan(study: Path) -> tuple[Path, Path, list[Step]]:
    """Return the folder the commands run in, the study's folder as they name it, and the steps."""
    record: dict[str, Any] = json.loads((study / "plan.json").read_text(encoding="utf-8"))
    steps = [
        Step(**{**one, "out": Path(one["out"]), "needs": tuple(one["needs"]),
                "overrides": tuple(one["overrides"])})
        for one in record["steps"]
    ]  # fmt: skip
    return Path(record["folder"]), Path(record["study"]), steps
