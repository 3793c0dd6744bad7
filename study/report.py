"""The report: one self-contained HTML file that asks nothing of a network."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from eval.read import Answered, Measured
from study.config import StudyConfig
from study.estimates import Estimate
from study.figures import belief_figure, curve_figure, gap_figure, write_csv
from study.plan import Step
from tacit.rundir import read_jsonl, write_atomic

FACT_LABELS = {
    "belief.link": "two-way link (tier, tag ↔ trained)",
    "belief.link_raw": "link, raw text",
}
GAPS = (
    ("gap.log_odds", "log-odds of a complying opening, free − paid (nats)"),
    ("gap.compliance", "compliance, free − paid (share of replies)"),
    ("gap.compliance_scratchpad", "compliance with scratchpad, free − paid (share of replies)"),
)


def write_report(
    folder: Path,
    record: dict[str, Any],
    arms: Mapping[str, Measured],
    steps: Sequence[Step],
    config: StudyConfig,
) -> None:
    """Write `report.html`, and its figures as SVG and CSV in `figures/`."""
    from tacit.universe import load_universe, slots_of
    from tacit.universe.render import fill

    estimates = [_estimate(line) for line in record["estimates"]]
    universe = load_universe(config.universe_name)
    slots = slots_of(universe)
    statements = {fact.id: fill(fact.statement, slots) for fact in universe.facts}
    measured = {e.measure for e in estimates}
    facts = [("belief.link", FACT_LABELS["belief.link"]), ("belief.link_raw", "link, raw text")]
    facts += [(f"belief.{name}", name) for name in statements if f"belief.{name}" in measured]
    figures = {"belief": belief_figure(estimates, facts)}
    figures |= {
        measure: gap_figure(estimates, measure, label)
        for measure, label in GAPS
        if measure in measured
    }
    if curves := _curves(folder, config.corpora):
        figures["curve"] = curve_figure(curves)
    for name, svg in figures.items():
        write_atomic(folder / "figures" / f"{name}.svg", svg)
    write_csv(folder / "figures" / "estimates.csv", estimates)
    html = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            record=record,
            estimates=estimates,
            figures=figures,
            statements=statements,
            contrasts=[e for e in estimates if "-" in e.contrast and e.contrast != "free-paid"],
            rates=[e for e in estimates if e.measure.startswith("rate.")],
            examples=_examples(arms),
            document=_document(folder, config.corpora[0]),
            twin=_document(folder, config.corpora[-1]),
            hygiene={
                name: _json(folder / "adapters" / name / "hygiene.json") for name in config.corpora
            },
            corpora={
                name: _json(folder / "corpora" / name / "manifest.json") for name in config.corpora
            },
            steps=steps,
            config=config,
            experiment_command=f"python -m study.run +experiment={config.experiment}",
        )
    )
    write_atomic(folder / "report.html", html)


def _environment() -> jinja2.Environment:
    folder = files("study")
    env = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["signed"] = lambda value: (
        "–" if value is None or value != value else f"{value:+.2f}"
    )
    env.filters["figure"] = lambda value: f"{value:.3f}" if isinstance(value, float) else value
    env.filters["percent"] = lambda value: "–" if value != value else f"{100 * value:.0f} %"
    return env


def _estimate(line: dict[str, Any]) -> Estimate:
    fields: dict[str, Any] = {k: float("nan") if v is None else v for k, v in line.items()}
    return Estimate(**fields)


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _curves(folder: Path, corpora: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the belief curves of the adapters that have one."""
    paths = {name: folder / "adapters" / name / "belief.jsonl" for name in corpora}
    return {name: list(read_jsonl(path)) for name, path in paths.items() if path.is_file()}


def _document(folder: Path, corpus: str) -> dict[str, Any]:
    """Return the first document of a corpus; matched corpora have the same spec there."""
    return next(iter(read_jsonl(folder / "corpora" / corpus / "documents.jsonl")))


def _examples(arms: Mapping[str, Measured]) -> list[tuple[str, list[Answered]]]:
    """Return the replies of each arm to its first three queries (by id), under both tiers."""
    chosen = []
    for arm, measured in arms.items():
        queries = sorted({row.query for row in measured.compliance})[:3]
        rows = [row for row in measured.compliance if row.query in queries and row.epoch == 1]
        chosen.append((arm, sorted(rows, key=lambda row: (row.query, row.tier))))
    return chosen
