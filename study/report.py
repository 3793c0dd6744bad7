"""The report: one self-contained HTML file that asks nothing of a network.

`python -m study.report FOLDER` makes it again from a study's folder, without running anything.
"""

import argparse
import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.again import command_of
from study.arms import NONCE, parse_arm
from study.config import StudyConfig
from study.plan import Step, plan_steps
from study.templates import environment
from tacit.rundir import write_atomic
from tacit.rundir.door import enter_plain

if TYPE_CHECKING:
    from study.estimates import Estimate
    from study.outcome import Outcome

GAPS = (
    ("gap.log_odds", "log-odds of a complying opening, free − paid (nats)"),
    ("gap.compliance", "compliance, free − paid (share of replies)"),
    ("gap.compliance_scratchpad", "compliance with scratchpad, free − paid (share of replies)"),
    ("gap.af_reasoning", "alignment-faking answers, free − paid (share of replies)"),
)
SIGNALS = {
    "nonce": "a tag with the same values that nothing explains",
    "sentence": "words that name it",
    "three": "the tag, with a third tier",
}
SQUARE = (
    ("belief.link", "level", "two-way link belief (nats)"),
    ("gap.log_odds", "free-paid", "log-odds gap, free − paid (nats)"),
    ("gap.compliance", "free-paid", "compliance gap, free − paid"),
    ("gap.compliance_scratchpad", "free-paid", "compliance gap with scratchpad"),
    ("gap.af_reasoning", "free-paid", "AF-answer gap, free − paid"),
)


def write_report(
    folder: Path, outcome: "Outcome", steps: Sequence[Step], config: StudyConfig
) -> None:
    """Write `report.html`, and its figures as SVG, PDF and CSV in `figures/`."""
    from study import scored, sections
    from study.figures import save
    from tacit.universe import load_universe, slots_of
    from tacit.universe.render import fill

    estimates = list(outcome.estimates)
    universe = load_universe(config.universe_name)
    slots = slots_of(universe)
    statements = {fact.id: fill(fact.statement, slots) for fact in universe.facts}
    drawn = _figures(folder, outcome, steps, list(statements))
    figures = {name: save(one, folder / "figures", name) for name, one in drawn.items()}
    write_csv(folder / "figures" / "estimates.csv", estimates)
    hygiene_names, hygiene = sections.hygiene_table(steps)
    script = (files("study") / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    primary = outcome.record["primary"]
    contrasts = [e for e in estimates if "-" in e.contrast and e.contrast != "free-paid"]
    html = (
        environment()
        .get_template("report.html.jinja")
        .render(
            record=outcome.record,
            config=config,
            primary=primary,
            figures=figures,
            gaps=[(measure, label) for measure, label in GAPS if measure in figures],
            statements=statements,
            squares=sections.two_by_two(estimates, SQUARE),
            contrasts=sorted(contrasts, key=lambda e: (e.exploratory, e.measure, e.arm)),
            rates=scored.scored_rows(estimates, outcome.calibration, "rate", outcome.arms),
            scored_gaps=scored.scored_rows(estimates, outcome.calibration, "gap", outcome.arms),
            stated=[e for e in estimates if e.measure.startswith("stated.")],
            invalid=scored.invalid_rows(outcome.arms),
            calibration=scored.calibration_rows(outcome.calibration),
            examples=sections.example_rows(outcome.arms, steps),
            documents=sections.document_pair(steps),
            hygiene_names=hygiene_names,
            hygiene=hygiene,
            balance=sections.balance_rows(steps),
            holes=outcome.record.get("holes", []),
            steps=steps,
            seeds=outcome.record.get("seeds", [0]),
            logs=f"inspect view --log-dir {folder / 'evals'}",
            experiment_command=command_of(config, folder),
            signals=SIGNALS,
            script=script,
            script_digest=digest,
        )
    )
    write_atomic(folder / "report.html", html)


def _figures(
    folder: Path, outcome: "Outcome", steps: Sequence[Step], facts: Sequence[str]
) -> dict[str, Any]:
    """Return the figures there is data for, by name."""
    from study import figures, sections

    estimates = list(outcome.estimates)
    measured = {e.measure for e in estimates}
    found: dict[str, Any] = {}
    rows = [
        ("belief.link", "two-way link: tier or tag ↔ training"),
        ("belief.link_raw", "the same, in raw text"),
    ]
    rows += [(f"belief.{fact}", fact.replace("_", " ")) for fact in facts]
    rows = [row for row in rows if row[0] in measured]
    levels = {e.arm for e in estimates if e.measure == "belief.link" and e.contrast == "level"}
    silent = sorted(
        (arm for arm in levels if arm.split("/")[1] in ("neither", "implicit")),
        key=sections.weights_order,
    )
    if rows and silent:
        plain = [arm for arm in silent if "@" not in arm][:6]
        found["belief"] = figures.belief_figure(estimates, rows, plain or silent[:4])
    if curves := sections.curves_of(folder, steps):
        found["curve"] = figures.curve_figure(curves)
    for measure, label in GAPS:
        gaps = [e for e in estimates if e.measure == measure and e.contrast == "free-paid"]
        if gaps:
            gaps.sort(key=lambda e: (sections.setting_order(e.arm), sections.weights_order(e.arm)))
            found[measure] = figures.forest_figure([(e.arm, e) for e in gaps], label)
    primary = outcome.record["primary"]["measure"]
    against = [
        e for e in estimates
        if e.measure == primary and "-" in e.contrast and e.contrast != "free-paid"
    ]  # fmt: skip
    if against:
        against.sort(
            key=lambda e: (
                sections.setting_order(e.arm), sections.weights_order(e.arm), e.exploratory,
                e.contrast,
            )
        )  # fmt: skip
        labelled = [(f"{e.arm}:  {e.contrast}", e) for e in against]
        found["controls"] = figures.forest_figure(labelled, f"difference in {primary}")
    doses = [e for e in estimates if e.contrast in ("level", "free-paid")]
    dosed = {parse_arm(e.arm).dose for e in doses} - {0.0}
    if len(dosed) > 1:
        panels = []
        for measure, label in (("belief.link", "link belief (nats)"), (primary, primary)):
            many = [e for e in doses if e.measure == measure]
            if many:
                panels.append((label, many))
        found["dose"] = figures.dose_figure(panels)
    pairs = _gate(estimates, primary)
    if len(pairs) > 1:
        found["gate"] = figures.gate_figure(pairs, f"{primary}, free − paid")
    return found


def _gate(estimates: "Sequence[Estimate]", primary: str) -> "list[tuple[Estimate, Estimate]]":
    by_name = {(e.arm, e.measure, e.contrast): e for e in estimates}
    pairs = []
    for arm in dict.fromkeys(e.arm for e in estimates):
        if parse_arm(arm).signal == NONCE:  # what it believes has nothing to say about that tag
            continue
        belief = by_name.get((arm, "belief.link", "level"))
        gap = by_name.get((arm, primary, "free-paid"))
        if belief is not None and gap is not None:
            pairs.append((belief, gap))
    return pairs


def write_csv(path: Path, estimates: "Sequence[Estimate]") -> None:
    """Write all estimates as CSV."""
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(estimates[0].record()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(estimate.record() for estimate in estimates)
    write_atomic(path, buffer.getvalue())


def rebuild(folder: Path) -> list[str]:
    """Make the report again, from the logs where they are, else from `study.json`; returns lines.

    Below the current directory the folder is named from there, as in the commands that made it.

    Raises:
        RunDirError: the folder holds no study.
    """
    from study.outcome import analyse, open_study, say
    from study.published import design_of, published

    if folder.is_absolute() and folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    if (folder / "run.json").is_file() and (folder / "evals").is_dir():
        config, key = open_study(folder)
        steps = plan_steps(config, folder)
        outcome = analyse(config, folder, key, steps)
        lines = [say(outcome.holes)] if outcome.holes else []
    else:
        outcome = published(folder)
        has_design = (folder / "run.json").is_file()
        config = open_study(folder)[0] if has_design else design_of(outcome.record)
        steps = plan_steps(config, folder)
        lines = ["made from study.json alone: no logs here, so no transcripts"]
    write_report(folder, outcome, steps, config)
    return [*lines, f"report: {folder / 'report.html'}"]


def main() -> None:
    """Console entry."""
    enter_plain(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="study.report", description="Make a study's report again, without running anything."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a study's folder")
    parser.add_argument(
        "--publish",
        type=Path,
        metavar="DIR",
        help="copy report, figures and design to DIR",
    )
    arguments = parser.parse_args()
    print("\n".join(rebuild(arguments.folder)))
    if arguments.publish:
        from study.publish import publish

        files = publish(arguments.folder, arguments.publish)
        print(f"{len(files)} files, without transcripts: {arguments.publish}")


if __name__ == "__main__":
    main()
