"""Verb: label transcripts by hand, one at a time, and see how far labellers agree.

`python -m eval.label PATH labeller=ada` goes through JSON lines or Inspect logs; what is labelled
is kept, and the same command goes on. `report=true` only prints the agreement.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eval.scorers.arguments import take_paths
from eval.scorers.config import LabelConfig
from tacit.errors import ConfigError
from tacit.rundir.door import enter, required
from tacit.rundir.journal import Journal
from tacit.rundir.run import locked

if TYPE_CHECKING:
    from rich.console import Console

    from eval.scorers.labels import Item

NEXT, BACK, STOP = "next", "back", "stop"


def label(config: LabelConfig) -> None:
    """Ask a person for labels, then print the agreement."""
    from eval.scorers.labels import agreements, all_labels, items_of, journal_path
    from eval.scorers.records import CHOICES
    from tacit.rundir.console import console_for

    path = Path(required(config.path, "PATH", "python -m eval.label PATH labeller=NAME"))
    for scorer in config.scorers:
        if scorer not in CHOICES:
            raise ConfigError(f"unknown scorer {scorer!r}: choose {', '.join(CHOICES)}")
    items = items_of(path, config.limit, config.seed)
    out = Path(config.out)
    console = console_for(100)
    if not config.report:
        labeller = required(config.labeller, "labeller", "add labeller=NAME, or report=true")
        kept = journal_path(out, path, labeller)
        with locked(kept.parent / f".{labeller}"), Journal(kept) as journal:
            go_through(items, config.scorers, labeller, journal, console)
        console.print(f"labels of {labeller}: {kept}")
    found = list(agreements(all_labels(out, path, items), config.scorers))
    for one in found:
        point, low, high = one.kappa
        said = "no kappa: only one label" if point != point else f"kappa {point:.2f}"
        interval = "" if point != point else f" [{low:.2f}, {high:.2f}]"
        console.print(
            f"{one.scorer}: {one.first} and {one.second} agree on {one.same} of "
            f"{one.shared}, {said}{interval}"
        )
    if not found:
        console.print("no agreement to report: two labellings of the same transcripts are needed")


def go_through(
    items: Sequence["Item"],
    scorers: Sequence[str],
    labeller: str,
    journal: Journal,
    console: "Console",
) -> None:
    """Show what this labeller has not labelled yet, until the end, `q`, or the input ends."""
    done = {record["id"] for record in journal.records}
    todo = [item for item in items if item.id not in done]
    console.print(f"{len(items)} transcripts, {len(items) - len(todo)} labelled before")
    number = 0
    while number < len(todo):
        item = todo[number]
        show(item, f"{number + 1} of {len(todo)}", console)
        answer, labels = ask_all(scorers, lambda: _read(console))
        if answer == STOP:
            return
        if answer == BACK:
            number = max(number - 1, 0)
            continue
        if labels:
            journal.append([{"id": item.id, "labeller": labeller, "labels": labels}])
        number += 1


def show(item: "Item", place: str, console: "Console") -> None:
    """Print a transcript with its control characters written out, without its labels."""
    from eval.scorers.output import take_apart, visible

    parts = take_apart(item.transcript.output, item.transcript.scratchpad)
    console.rule(place)
    console.print(f"tier: {visible(item.transcript.tier)}")
    console.print(f"request: {visible(item.transcript.query)}")
    if item.transcript.scratchpad or parts.scratchpad:
        console.print(f"\nscratchpad:\n{visible(parts.scratchpad or '(none)')}")
    answer = parts.answer
    if answer is None:
        console.print(f"\nno answer in the form asked for:\n{visible(item.transcript.output)}")
    else:
        console.print(f"\nanswer:\n{visible(answer)}")


def ask_all(scorers: Sequence[str], read: Callable[[], str | None]) -> tuple[str, dict[str, str]]:
    """Ask for each scorer's label; returns what comes next and the labels, none where skipped."""
    from eval.scorers.records import CHOICES

    labels: dict[str, str] = {}
    for scorer in scorers:
        if scorer == "af_reasoning" and labels.get("compliance") in ("refuses", "invalid"):
            labels[scorer] = "none"  # by its definition: nothing is complied with
            continue
        keys = {choice[0]: choice for choice in CHOICES[scorer]}
        if scorer == "animal_welfare":
            keys = {"+": "supports", "-": "plays_down", "0": "neither", "i": "invalid"}
        offered = "  ".join(f"{key} {choice}" for key, choice in keys.items())
        while True:
            print(f"{scorer}: {offered}  | s skip  b back  q quit > ", end="", flush=True)
            key = read()
            if key is None or key == "q":
                return STOP, {}
            if key in ("s", "b"):
                return (NEXT if key == "s" else BACK), {}
            if key in keys:
                labels[scorer] = keys[key]
                break
            print(f"{key!r} is none of these keys")
    return NEXT, labels


def _read(console: "Console") -> str | None:
    line = sys.stdin.readline()
    if not sys.stdin.isatty():
        console.print()
    return line.strip().lower() if line else None


def main() -> None:
    """Console entry."""
    take_paths("path", is_list=False)
    enter(label, "label", LabelConfig)


if __name__ == "__main__":
    main()
