"""What a study prints: its plan before it runs, its result after."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from study.arms import Arm
from study.config import StudyConfig
from study.cost import Load, accelerators_needed, parameters_of
from study.design import arms_of, primary_of
from study.plan import KINDS, Step

if TYPE_CHECKING:
    from rich.console import Console

    from study.outcome import Outcome


def print_plan(
    console: "Console", config: StudyConfig, steps: Sequence[Step], asked: Mapping[str, Load]
) -> None:
    """Print what will be made, asked and spent, and what will decide."""
    from rich.markup import escape

    primary = primary_of(config)
    counts = {kind: sum(step.kind == kind for step in steps) for kind in KINDS}
    seconds = [asked[step.id].seconds for step in steps]
    known = [s for s in seconds if s is not None]
    hours = sum(known) / _lanes(config, steps) / 3600
    machine = config.machine
    where = f"{machine.count} × {machine.name}" if machine.count > 1 else machine.name
    whole = f"about {_time(hours)} on {where}" if known else "time unknown"
    if len(known) < len(seconds):
        whole += ", without what cannot be told (batches; a model of unknown size: parameters_b=…)"
    console.print(
        f"[bold]{escape(str(config.experiment))}[/]: {counts['corpus']} corpora, "
        f"{counts['adapter']} adapters, "
        f"{len(arms_of(config))} arms × {len(config.seeds)} seeds; {whole}",
        soft_wrap=True,
    )
    console.print(
        f"primary, named before the run: {primary.measure}, {primary.contrast} "
        f"(model class {config.model_class})",
        highlight=False,
        markup=False,
    )
    console.print(_loads(steps, asked))
    console.print(_detectable(config))
    for line in assumptions(config, steps, asked):
        console.print(f"  {line}", style="dim", soft_wrap=True, highlight=False)


def _lanes(config: StudyConfig, steps: Sequence[Step]) -> int:
    """Return how many steps run at a time."""
    return 1 if config.launcher else max(1, min(config.workers, len(steps)))


def _time(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:,.0f} h"


def _loads(steps: Sequence[Step], asked: Mapping[str, Load]) -> Any:
    from rich.table import Table

    table = Table("step", "how many", "samples", "calls", "tokens read", "tokens written (at most)",
                  "hours", "cost")  # fmt: skip
    for kind in KINDS:
        loads = [asked[step.id] for step in steps if step.kind == kind]
        if not loads:
            continue
        seconds = [load.seconds for load in loads]
        costs = [load.usd for load in loads]
        table.add_row(
            kind,
            str(len(loads)),
            *[f"{sum(getattr(load, name) for load in loads):,}"
              for name in ("samples", "calls", "input_tokens", "output_tokens")],
            "?" if None in seconds else f"{sum(s or 0 for s in seconds) / 3600:,.2f}",
            "unknown" if None in costs else f"${sum(c or 0 for c in costs):,.2f}",
        )  # fmt: skip
    return table


def _detectable(config: StudyConfig) -> Any:
    """Return what each planned contrast would detect, before anything is spent."""
    from rich.table import Table

    from study.power import planned_mde

    table = Table(
        "planned", "contrast", "queries", "seeds", "would detect (MDE)", "speaks of",
        title="smallest effect found with power 0.8 at two-sided 0.05 (study.power)",
        title_justify="left",
    )  # fmt: skip
    for one in planned_mde(config):
        table.add_row(
            one.measure, one.contrast, str(one.query_count), str(one.seed_count),
            f"{one.mde:.2f}", one.covers,
        )  # fmt: skip
    return table


def assumptions(config: StudyConfig, steps: Sequence[Step], asked: Mapping[str, Load]) -> list[str]:
    """Return what the figures of the plan rest on."""
    machine = config.machine
    lines = []
    if (lanes := _lanes(config, steps)) > 1:
        lines.append(f"hours: one step after another; {lanes} run at a time (workers)")
    measured = [kind for kind in KINDS if kind in config.expected_s]
    if measured:
        lines.append(f"time of {', '.join(measured)}: as the experiment states it (expected_s)")
    trains = any(step.kind == "adapter" and step.kind not in measured for step in steps)
    if parameters_of(config) and (trains or "eval" not in measured):
        lines.append(
            f"computed for {machine.count} × {machine.name} at {machine.peak_tflops:g} TFLOPS "
            f"(bf16), of which training reaches {machine.training_share:.0%} and sampling "
            f"{machine.sampling_share:.0%} (assumed)"
        )
        lines.append(
            f"{parameters_of(config):g}B parameters need {accelerators_needed(config)} × "
            f"{machine.memory_gb:g} GB for weights and room (assumed: 2.5 bytes a parameter)"
        )
    lines += dict.fromkeys(guess for step in steps for guess in asked[step.id].guesses)
    if judged := sum(asked[step.id].judge_calls for step in steps):
        lines.append(f"{judged:,} of the calls are the judge's")
    if any(asked[step.id].usd is None for step in steps):
        lines.append("cost unknown: a model has no price in conf/prices.yaml")
    return lines


def print_commands(console: "Console", steps: Sequence[Step]) -> None:
    """Print the command of each step."""
    for step in steps:
        console.print(f"  {step.command}", style="dim", soft_wrap=True, highlight=False,
                      markup=False)  # fmt: skip


def print_result(console: "Console", outcome: "Outcome", arms: Sequence[Arm]) -> None:
    """Print the figures of each arm, the verdicts, and what is missing."""
    from rich.table import Table
    from rich.text import Text

    from study.verdict import show

    by_name = {(e.arm, e.measure, e.contrast): e for e in outcome.estimates}
    columns = [
        ("link belief", "belief.link", "level"),
        ("log-odds gap", "gap.log_odds", "free-paid"),
        ("compliance gap", "gap.compliance", "free-paid"),
        ("AF rate", "rate.af_reasoning", "level"),
        ("comply", "rate.compliance", "level"),
        ("coherent", "rate.benign_coherent", "level"),
    ]
    columns = [c for c in columns if any((a.name, c[1], c[2]) in by_name for a in arms)]
    table = Table("arm", *[title for title, _, _ in columns], title="estimate [95 % interval]")
    for arm in arms:
        cells = [by_name.get((arm.name, measure, contrast)) for _, measure, contrast in columns]
        table.add_row(
            arm.name, *[show(cell).replace("[", "\\[") if cell else "–" for cell in cells]
        )
    console.print(table)
    for verdict in outcome.verdicts:
        said = Text.assemble((verdict.arm, "bold"), f": {verdict.verdict}. {verdict.reason}")
        console.print(said, soft_wrap=True)
    for hole in outcome.holes:
        line = f"missing: {hole.kind} {hole.name}: {hole.why}"
        console.print(line, style="red", markup=False, soft_wrap=True)
