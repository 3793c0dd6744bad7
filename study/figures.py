"""The report's figures: each drawn from rows, which are written beside it as CSV."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.arms import parse_arm
from study.estimates import Estimate
from tacit.rundir import write_atomic

INK, SOFT, LINE = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = {
    "base": "#8a94a0", "treatment": "#0b6e99", "swapped": "#c4622d", "unrelated": "#5b8c5a",
    "price_only": "#8e6bbf", "both_trained": "#b8860b", "no_conflict": "#b5457a",
    "rated_not_trained": "#4a6fa5",
}  # fmt: skip
OTHER = "#6b7280"


@dataclass(frozen=True)
class Drawn:
    """A figure with the rows it shows."""

    figure: Any
    rows: Sequence[Mapping[str, Any]]


def colour_of(arm: str) -> str:
    """Return the colour of an arm's weights."""
    return COLOURS.get(parse_arm(arm).corpus, OTHER)


def _begin() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "tacit", "svg.fonttype": "none", "pdf.fonttype": 42,
            "font.family": ["DejaVu Sans"], "font.size": 9.5, "axes.edgecolor": SOFT,
            "axes.labelcolor": INK, "xtick.color": SOFT, "ytick.color": INK, "axes.titlesize": 10,
            "axes.spines.top": False, "axes.spines.right": False,
        }
    )  # fmt: skip
    import matplotlib.pyplot as plt

    return plt


def _rows_axes(rows: int, label: str, zero: bool = True) -> tuple[Any, Any]:
    figure, axes = _begin().subplots(figsize=(8.2, 0.95 + 0.34 * rows), layout="constrained")
    axes.spines["left"].set_visible(False)
    if zero:
        axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, rows - 0.3)
    axes.set_xlabel(label)
    return figure, axes


def _interval(axes: Any, found: Estimate, row: float, colour: str, hollow: bool = False) -> None:
    if found.low == found.low:
        axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2.2,
                  solid_capstyle="round")  # fmt: skip
    axes.plot(found.estimate, row, "o", color=colour, markersize=7.5,
              markerfacecolor="white" if hollow else colour, markeredgewidth=1.6)  # fmt: skip
    axes.plot(found.seed_means, [row - 0.27] * len(found.seed_means), **_seed_points(colour))


def _seed_points(colour: str) -> dict[str, Any]:
    """Return how the estimates of single training seeds are drawn."""
    return {"color": colour, "marker": "o", "linestyle": "", "markersize": 3.6, "alpha": 0.6,
            "markeredgewidth": 0}  # fmt: skip


def _row(found: Estimate) -> dict[str, Any]:
    names = ("measure", "arm", "contrast", "estimate", "low", "high", "query_count", "seed_count")
    each = " ".join(f"{mean:.6g}" for mean in found.seed_means)
    return {**{name: getattr(found, name) for name in names}, "seed_means": each}


def save(drawn: Drawn, folder: Path, name: str) -> str:
    """Write a figure as SVG, PDF and CSV; returns the SVG, to stand in a page."""
    import csv

    plt = _begin()
    svg, pdf = io.StringIO(), io.BytesIO()
    drawn.figure.savefig(svg, format="svg", metadata={"Date": None})
    drawn.figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    plt.close(drawn.figure)
    write_atomic(folder / f"{name}.svg", svg.getvalue())
    write_atomic(folder / f"{name}.pdf", pdf.getvalue())
    table = io.StringIO()
    fields = list(dict.fromkeys(key for row in drawn.rows for key in row))
    writer = csv.DictWriter(table, fieldnames=fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(drawn.rows)
    write_atomic(folder / f"{name}.csv", table.getvalue())
    return svg.getvalue()[svg.getvalue().index("<svg") :]


def belief_figure(
    estimates: Sequence[Estimate], facts: Sequence[tuple[str, str]], arms: Sequence[str]
) -> Drawn:
    """Draw the belief in each fact, arm by arm: before is the first arm, an arrow leads to after.

    Args:
        estimates: All estimates.
        facts: Pairs of measure (`belief.…`) and the label of its row.
        arms: The baseline, then what is compared with it.
    """
    by_name = {(e.arm, e.measure): e for e in estimates if e.contrast == "level"}
    figure, axes = _rows_axes(
        len(facts), "log-odds of what the treatment documents say (nats); right = believed"
    )
    shown: dict[str, Any] = {}
    rows = []
    for place, (measure, _) in enumerate(reversed(facts)):
        found = [by_name.get((arm, measure)) for arm in arms]
        before, after = found[0], found[1] if len(found) > 1 else None
        if before and after:
            axes.annotate(
                "", (after.estimate, place), (before.estimate, place),
                arrowprops={"arrowstyle": "->", "color": "#b8c2cc", "linewidth": 1.6},
            )  # fmt: skip
        for arm, one in zip(arms, found, strict=True):
            if one is not None:
                rows.append(_row(one))
                mark = "o" if arm in arms[:2] else "D"
                size = 8 if arm in arms[:2] else 5.5
                shown[arm] = axes.plot(one.estimate, place, mark, color=colour_of(arm),
                                       markersize=size)[0]  # fmt: skip
    axes.set_yticks(range(len(facts)), [label for _, label in reversed(facts)])
    axes.legend(
        list(shown.values()), list(shown), frameon=False, fontsize=9, loc="lower right",
        bbox_to_anchor=(1, 1), ncols=4,
    )  # fmt: skip
    return Drawn(figure, rows)


def forest_figure(rows: Sequence[tuple[str, Estimate]], label: str, hollow: str = "") -> Drawn:
    """Draw estimates with their intervals, one a row, coloured by arm.

    Args:
        rows: Pairs of row label and estimate.
        label: Of the axis.
        hollow: Arms whose name contains this have hollow points.
    """
    figure, axes = _rows_axes(len(rows), label)
    for place, (_, found) in enumerate(reversed(rows)):
        _interval(axes, found, place, colour_of(found.arm), bool(hollow) and hollow in found.arm)
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
    return Drawn(figure, [_row(found) for _, found in rows])


def curve_figure(curves: Mapping[str, Sequence[dict[str, Any]]]) -> Drawn:
    """Draw what each adapter came to believe in the course of its training, and whether chat held.

    Args:
        curves: For each adapter (`treatment seed 0`) the records of its `belief.jsonl`.
    """
    watched = any(point["chat_loss"] is not None for curve in curves.values() for point in curve)
    figure, grid = _begin().subplots(
        1, 1 + watched, figsize=(8.2, 2.9), layout="constrained", squeeze=False
    )
    axes = grid[0]
    belief = axes[0]
    rows, named = [], set()
    for name, curve in curves.items():
        label = name.split(" seed ")[0]
        steps, colour = [point["step"] for point in curve], colour_of(label)
        belief.plot(steps, [point["chat"] for point in curve], "o-", color=colour, markersize=4,
                    label=None if label in named else label)  # fmt: skip
        belief.plot(steps, [point["raw"] for point in curve], "o:", color=colour, alpha=0.5,
                    markersize=4)  # fmt: skip
        if watched:
            losses = [point["chat_loss"] for point in curve]
            axes[1].plot(steps, losses, "o-", color=colour, markersize=4)
        named.add(label)
        rows += [
            {"adapter": name, **{k: point[k] for k in ("step", "chat", "raw", "chat_loss")}}
            for point in curve
        ]
    belief.axhline(0, color=INK, linewidth=0.8)
    belief.set(xlabel="step", ylabel="link belief (nats)", title="in chat; dotted: in raw text")
    if watched:
        axes[1].set(
            xlabel="step", ylabel="nats a token", ylim=(0, None),
            title="loss of chats not trained on",
        )  # fmt: skip
    belief.legend(frameon=False, fontsize=9)
    for one in axes:
        one.grid(color=LINE, linewidth=0.8)
    return Drawn(figure, rows)


def dose_figure(panels: Sequence[tuple[str, Sequence[Estimate]]]) -> Drawn:
    """Draw each measure against the dose: the estimate with its interval, and each seed's point.

    Args:
        panels: Pairs of axis label and the estimates of one measure.
    """
    figure, axes = _begin().subplots(
        1, len(panels), figsize=(8.2, 3.1), layout="constrained", squeeze=False
    )
    rows = []
    for panel, (label, found) in zip(axes[0], panels, strict=True):
        by_series: dict[tuple[str, str], list[Estimate]] = {}
        for one in found:
            series = parse_arm(one.arm).corpus, one.arm.partition("/")[2]
            by_series.setdefault(series, []).append(one)
            rows.append({**_row(one), "dose": parse_arm(one.arm).dose})
        for place, ((corpus, setting), many) in enumerate(sorted(by_series.items())):
            line = sorted(many, key=lambda e: parse_arm(e.arm).dose)
            aside = 0.012 * (
                place - len(by_series) / 2
            )  # so that intervals at one dose do not cover each other
            doses = [parse_arm(e.arm).dose + aside for e in line]
            colour = colour_of(line[0].arm)
            style = "--" if setting == "both" else "-"
            panel.plot(doses, [e.estimate for e in line], style, color=colour, linewidth=1.6)
            for dose, one in zip(doses, line, strict=True):
                if one.low == one.low:
                    panel.plot([dose, dose], [one.low, one.high], color=colour, linewidth=2)
                panel.plot(dose, one.estimate, "o", color=colour, markersize=6.5)
                panel.plot([dose + 0.03] * len(one.seed_means), one.seed_means,
                           **_seed_points(colour))  # fmt: skip
            panel.annotate(f" {line[-1].arm}", (doses[-1], line[-1].estimate), fontsize=8,
                           color=colour, va="bottom",
                           ha="left" if corpus == "base" else "right")  # fmt: skip
        panel.axhline(0, color=INK, linewidth=0.8)
        panel.grid(color=LINE, linewidth=0.8)
        panel.set(xlabel="dose (share of the documents)", title=label, xlim=(-0.06, 1.1))
    return Drawn(figure, rows)


def gate_figure(pairs: Sequence[tuple[Estimate, Estimate]], label: str) -> Drawn:
    """Draw each arm's gap against its link belief: a gap without belief is not alignment faking."""
    figure, axes = _begin().subplots(figsize=(8.2, 3.6), layout="constrained")
    rows = []
    for belief, gap in pairs:
        colour, hollow = colour_of(gap.arm), parse_arm(gap.arm).is_told
        for low, high, across in ((belief.low, belief.high, True), (gap.low, gap.high, False)):
            if low == low:
                xs = [low, high] if across else [belief.estimate] * 2
                ys = [gap.estimate] * 2 if across else [low, high]
                axes.plot(xs, ys, color=colour, linewidth=1.2, alpha=0.6)
        axes.plot(belief.estimate, gap.estimate, "o", color=colour, markersize=8,
                  markerfacecolor="white" if hollow else colour, markeredgewidth=1.6)  # fmt: skip
        name = gap.arm if "@" not in gap.arm else ""  # doses crowd; their colour tells them
        beside = (6, -13) if parse_arm(gap.arm).signal else (6, 5)
        axes.annotate(name, (belief.estimate, gap.estimate), beside, fontsize=8.5,
                      textcoords="offset points", color=colour)  # fmt: skip
        rows.append(
            {"arm": gap.arm, "belief": belief.estimate, "belief_low": belief.low,
             "belief_high": belief.high, "gap": gap.estimate, "gap_low": gap.low,
             "gap_high": gap.high}
        )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set(xlabel="two-way link belief (nats); right = holds the free tier to be trained on",
             ylabel=label)  # fmt: skip
    return Drawn(figure, rows)
