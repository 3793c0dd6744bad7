"""What a study shows while it runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from study.plan import KINDS, Step
from study.schedule import State

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LINES = {"have": "have", "running": "run ", "done": "done", "failed": "FAILED", "blocked": "left"}


def clock(seconds: float) -> str:
    """Return a time as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def expected(
    steps: Sequence[Step], states: Mapping[str, State], planned: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return the seconds each step takes or is expected to: its kind's mean, or as planned."""
    found: dict[str, float | None] = {}
    for kind in KINDS:
        took = [states[s.id].seconds for s in steps
                if s.kind == kind and states[s.id].word == "done"]  # fmt: skip
        mean = sum(took) / len(took) if took else None
        for step in steps:
            if step.kind == kind:
                found[step.id] = planned.get(step.id) if mean is None else mean
    return found


def eta(
    steps: Sequence[Step],
    states: Mapping[str, State],
    planned: Mapping[str, float | None],
    workers: int,
    now: float,
) -> float | None:
    """Return the seconds that are left, or None where a step's time is unknown.

    No shorter than the longest way through steps that need each other.
    """
    left: dict[str, float] = {}
    seconds = expected(steps, states, planned)
    for step in steps:
        state = states[step.id]
        if state.word in ("waiting", "held", "running"):
            whole = seconds[step.id]
            if whole is None:
                return None
            spent = now - state.started if state.word == "running" else 0.0
            left[step.id] = max(whole - spent, 0.0)
    ends: dict[str, float] = {}
    for step in steps:
        before = max((ends.get(need, 0.0) for need in step.needs), default=0.0)
        ends[step.id] = before + left.get(step.id, 0.0)
    return max(sum(left.values()) / max(1, workers), max(ends.values(), default=0.0))


def _cell(steps: Sequence[Step], states: Mapping[str, State], seconds: Any, now: float) -> str:
    if not steps:
        return "[dim]–[/]"
    words = [states[step.id].word for step in steps]
    done = sum(word in ("have", "done") for word in words)
    share = f" {done}/{len(steps)}" if len(steps) > 1 else ""
    if "failed" in words:
        return f"[red]✗ failed{share}[/]"
    if "blocked" in words:
        return f"[red]✗ left out{share}[/]"
    if done == len(steps):
        took = sum(states[step.id].seconds for step in steps)
        return f"[green]✓[/]{share}" + (f" [dim]{clock(took)}[/]" if took else "")
    if "running" in words:
        step = next(step for step in steps if states[step.id].word == "running")
        whole = seconds[step.id]
        spent = clock(now - states[step.id].started)
        return f"[bold]▸ {spent}[/]" + (f" of ~{clock(whole)}" if whole else "") + share
    return f"[dim]{'held elsewhere' if 'held' in words else 'waits'}{share}[/]"


def table_of(
    steps: Sequence[Step],
    states: Mapping[str, State],
    planned: Mapping[str, float | None],
    workers: int,
    now: float,
) -> "Table":
    """Return arms × steps: what each arm stands on, and its own measurement."""
    from rich.table import Table

    by_id = {step.id: step for step in steps}
    seconds = expected(steps, states, planned)
    left = eta(steps, states, planned, workers, now)
    finished = sum(state.word in ("have", "done") for state in states.values())
    title = f"{finished} of {len(steps)} steps" + (f", about {clock(left)} left" if left else "")
    table = Table("arm", *KINDS, title=title, title_justify="left")
    for arm in dict.fromkeys(step.arm for step in steps if step.arm):
        evals = [step for step in steps if step.arm == arm]
        adapters = [by_id[need] for step in evals for need in step.needs]
        corpora = [by_id[need] for step in adapters for need in step.needs]
        groups = (list(dict.fromkeys(corpora)), list(dict.fromkeys(adapters)), evals)
        table.add_row(arm, *[_cell(group, states, seconds, now) for group in groups])
    return table


class Progress:
    """Tells of a run as it goes: use as a context manager, and as the scheduler's watcher."""

    def __init__(
        self,
        console: "Console",
        steps: Sequence[Step],
        planned: Mapping[str, float | None],
        workers: int,
    ) -> None:
        self._console, self._steps, self._planned = console, steps, planned
        self._workers = workers
        self._states = {step.id: State() for step in steps}
        self._live: Any = None

    def __enter__(self) -> "Progress":
        """Open the live table, where there is a terminal."""
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(self._table(), console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the table as it stands."""
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def _table(self) -> "Table":
        now = time.monotonic()
        return table_of(self._steps, self._states, self._planned, self._workers, now)

    def changed(self, step: Step, state: State) -> None:
        """Show that a step's state changed."""
        self._states[step.id] = state
        if self._live is not None and state.word != "failed":
            self._live.update(self._table(), refresh=True)
            return
        if state.word not in LINES:
            return
        tail = {"running": " …", "done": f" in {state.seconds:.0f} s"}.get(state.word, "")
        tail = f": {state.why}" if state.why else tail
        line = f"{LINES[state.word]} {step.kind:<8}{step.name}{tail}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def tick(self) -> None:
        """Move the clocks on."""
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
