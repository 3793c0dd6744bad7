"""The report's figures, as SVG and as the CSV they were drawn from."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study.estimates import Estimate
from tacit.rundir import write_atomic

INK, BASE, TRAINED, SWAPPED = "#1f2933", "#9aa5b1", "#0b6e99", "#c4622d"
COLOURS = {"base": BASE, "treatment": TRAINED, "swapped": SWAPPED}


def _axes(rows: int, width: float = 8.2) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "tacit"
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["font.family"] = ["DejaVu Sans"]
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(width, 0.9 + 0.42 * rows), layout="constrained")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0, labelsize=9.5)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib.pyplot as plt

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def belief_figure(estimates: Sequence[Estimate], facts: Sequence[tuple[str, str]]) -> str:
    """Draw the belief in each fact before and after training, under the implicit prompt.

    Args:
        estimates: All estimates.
        facts: Pairs of measure (`belief.…`) and the label of its row.
    """
    by_name = {(e.arm, e.measure): e for e in estimates if e.contrast == "level"}
    figure, axes = _axes(len(facts))
    shown: dict[str, Any] = {}
    for row, (measure, _) in enumerate(reversed(facts)):
        before, after = (
            by_name.get((arm, measure)) for arm in ("base/neither", "treatment/implicit")
        )
        if before and after:
            axes.plot([before.estimate, after.estimate], [row, row], color="#cbd2d9", linewidth=2)
        for arm in ("base/neither", "treatment/implicit", "swapped/implicit"):
            if found := by_name.get((arm, measure)):
                weights = arm.split("/")[0]
                shown[weights] = axes.plot(
                    found.estimate, row, "o", color=COLOURS.get(weights, INK), markersize=8
                )[0]
    axes.set_yticks(range(len(facts)), [label for _, label in reversed(facts)])
    axes.set_xlabel("log-odds of what the treatment documents say (nats); right = believed")
    axes.legend(
        list(shown.values()),
        ["base" if name == "base" else f"{name} documents" for name in shown],
        frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=3,
    )  # fmt: skip
    return _svg(figure)


def curve_figure(curves: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Draw what each adapter came to believe in the course of its training, and whether chat held.

    Args:
        curves: For each corpus the records of its adapter's `belief.jsonl`.
    """
    import matplotlib.pyplot as plt

    plt.close(_axes(1)[0])  # sets the backend and the fonts
    figure, (belief, chat) = plt.subplots(1, 2, figsize=(8.2, 2.9), layout="constrained")
    for name, curve in curves.items():
        steps, colour = [point["step"] for point in curve], COLOURS.get(name, INK)
        belief.plot(steps, [point["chat"] for point in curve], "o-", color=colour, label=name)
        belief.plot(steps, [point["raw"] for point in curve], "o:", color=colour, alpha=0.5)
        chat.plot(steps, [point["chat_loss"] for point in curve], "o-", color=colour)
    belief.axhline(0, color=INK, linewidth=0.8)
    belief.set(xlabel="step", ylabel="link belief (nats)", title="in chat; dotted: in raw text")
    chat.set(
        xlabel="step", ylabel="nats a token", ylim=(0, None), title="loss of chats not trained on"
    )
    belief.legend(frameon=False, fontsize=9)
    for axes in (belief, chat):
        axes.title.set_fontsize(10)
        axes.grid(color="#e4e7eb", linewidth=0.8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return _svg(figure)


def gap_figure(estimates: Sequence[Estimate], measure: str, label: str) -> str:
    """Draw one gap per arm with its 95 % interval."""
    rows = [e for e in estimates if e.measure == measure and e.contrast == "free-paid"]
    figure, axes = _axes(len(rows))
    for row, found in enumerate(reversed(rows)):
        colour = COLOURS.get(found.arm.split("/")[0], INK)
        axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2.4)
        axes.plot(found.estimate, row, "o", color=colour, markersize=8)
    axes.set_yticks(range(len(rows)), [found.arm for found in reversed(rows)])
    axes.set_xlabel(label)
    return _svg(figure)


def write_csv(path: Path, estimates: Sequence[Estimate]) -> None:
    """Write all estimates as CSV."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(estimates[0].record()), lineterminator="\n")
    writer.writeheader()
    for estimate in estimates:
        writer.writerow(estimate.record())
    write_atomic(path, buffer.getvalue())
