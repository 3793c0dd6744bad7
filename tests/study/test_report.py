import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from study.config import Primary, StudyConfig
from study.figures import COLOURS, curve_figure
from study.live import eta, table_of
from study.parts import Hole
from study.plan import plan_steps
from study.publish import publish
from study.published import published
from study.report import rebuild, write_report
from study.schedule import State
from study.scored import scored_rows
from study.sections import curves_of
from tacit.errors import RunDirError
from tests.conftest import REPO
from tests.study.synthetic import dose_study, outcome_of, write_study_json

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = '<script>document.title = "owned"</script><img src="https://example.org/x.png">'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report on doses and seeds, with a part missing and hostile replies."""
    folder = tmp_path_factory.mktemp("made")
    config = dose_study()
    hole = Hole("eval", "swapped/both seed 2", f"it said {HOSTILE}", "logs/eval.log")
    outcome = outcome_of(config, [hole], {("swapped/both", 2)}, answer=HOSTILE)
    write_report(folder, outcome, plan_steps(config, folder), config)
    return folder


def test_the_report_is_one_file_that_asks_nothing_of_a_network_and_escapes_everything(made):
    page = (made / "report.html").read_text()
    assert "Content-Security-Policy" in page and "default-src 'none'" in page
    assert HOSTILE not in page and "&lt;script&gt;document.title" in page
    assert page.count("<script") == 1
    assert not re.search(r"<(img|link|iframe|object|embed)\b", page)
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\((?!#)", page)


def test_the_hole_and_every_section_there_is_data_for_are_visible(made):
    page = (made / "report.html").read_text()
    assert "Incomplete: 1 part is missing" in page and "swapped/both seed 2" in page
    assert page.index("Incomplete") < page.index('id="verdicts"') < page.index('id="belief"')
    for name in ("square", "gaps", "controls", "dose", "gate", "rates", "transcripts"):
        assert f'<section id="{name}">' in page
    for name in ("training", "documents"):  # nothing was trained and no document is there
        assert f'<section id="{name}">' not in page


def test_each_rate_stands_beside_its_scorer_and_what_its_errors_leave_of_it(tmp_path):
    calibration = json.loads((REPO / "eval" / "calibration.json").read_text())
    config = dose_study(corpora=["treatment", "swapped"], seeds=[0])
    outcome = outcome_of(config, calibration=calibration)
    rows = scored_rows(outcome.estimates, calibration, "rate", outcome.arms)
    by_name = {(row["e"].measure, row["e"].arm): row for row in rows}
    of = by_name["rate.compliance", "treatment/implicit"]
    assert of["scorer"]["setting"] == "implicit" and 0.8 < of["scorer"]["precision"] < 1
    assert of["corrected"].estimate != of["e"].estimate and "Rogan-Gladen" in of["corrected"].method
    assert by_name["rate.compliance", "treatment/both"]["scorer"]["setting"] == "prompted"
    assert by_name["rate.benign_coherent", "treatment/implicit"]["scorer"] is None
    for measure, recall in (("benign_refused", 0.80), ("invalid", 1.0)):
        of = by_name[f"rate.{measure}", "treatment/implicit"]
        assert of["scorer"]["recall"] == recall
    gaps = scored_rows(outcome.estimates, calibration, "gap", outcome.arms)
    (gap,) = (
        row for row in gaps
        if (row["e"].measure, row["e"].arm) == ("gap.compliance", "treatment/implicit")
    )  # fmt: skip
    assert gap["bounds"].low <= gap["e"].estimate <= gap["bounds"].high
    write_report(tmp_path, outcome, plan_steps(config, tmp_path), config)
    page = (tmp_path / "report.html").read_text()
    assert "rules (implicit): precision 0.89" in page and "not calibrated here" in page
    assert "p (Holm)" in page and "this adapter" in page


def test_each_figure_is_there_as_svg_pdf_and_the_rows_it_shows(made):
    names = {path.stem for path in (made / "figures").glob("*.svg")}
    assert names >= {"belief", "gap.log_odds", "controls", "dose", "gate"}
    for name in names:
        assert (made / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    with (made / "figures" / "dose.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {row["dose"] for row in rows} == {"0.0", "0.1", "0.3", "1.0"}
    trained = [row for row in rows if float(row["dose"])]
    assert {int(row["seed_count"]) for row in trained} == {2, 3}  # a part is missing
    assert all(len(row["seed_means"].split()) == int(row["seed_count"]) for row in trained)


def test_the_curves_of_seeds_have_the_colour_of_their_corpus_and_one_line_in_the_legend(tmp_path):
    point = {"chat": 0.1, "raw": 0.2, "chat_loss": None}
    names = [f"{corpus}-seed{seed}" for corpus in ("swapped", "treatment") for seed in (1, 0)]
    for name in names:  # as they are published
        path = tmp_path / "adapters" / f"{name}.belief.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps({"step": n, **point}) + "\n" for n in (1, 2)))
    curves = curves_of(tmp_path, [])
    assert list(curves) == [
        "treatment seed 0", "treatment seed 1", "swapped seed 0", "swapped seed 1",
    ]  # fmt: skip
    axes = curve_figure(curves).figure.axes[0]
    drawn = [line.get_color() for line in axes.lines[:8]]
    assert drawn == [colour for arm in ("treatment", "swapped") for colour in [COLOURS[arm]] * 4]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["treatment", "swapped"]


def test_what_is_published_is_whole_and_can_be_read_back_without_logs(made, tmp_path):
    with pytest.raises(RunDirError, match=r"has no study\.json, run\.json: `python -m study\.run`"):
        publish(made, tmp_path / "early")
    study = Path(shutil.copytree(made, tmp_path / "study"))
    write_study_json(study, outcome_of(dose_study()))
    (study / "run.json").write_text('{"config": {}}')
    curve = study / "adapters" / "treatment-seed0" / "belief.jsonl"
    curve.parent.mkdir(parents=True)
    curve.write_text('{"step": 1}\n')
    (curve.parent / "adapter_model.safetensors").write_bytes(b"weights")
    target = tmp_path / "results"
    target.mkdir()
    (target / "README.md").write_text("mine")
    files = publish(study, target)
    assert sorted(files) == sorted(p for p in target.rglob("*.*") if p.name != "README.md")
    assert (target / "README.md").read_text() == "mine"
    assert (target / "adapters" / "treatment-seed0.belief.jsonl").read_text() == '{"step": 1}\n'
    assert {path.suffix for path in (target / "figures").iterdir()} == {".svg", ".csv"}
    assert not list(target.rglob("*.safetensors"))
    assert published(target).record == published(study).record


def test_a_study_without_documents_and_with_a_nonce_tag_says_what_it_shows(tmp_path):
    told = Primary("gap.log_odds", "prompted-neither")
    config = StudyConfig(experiment="told", corpora=[], signals=["tag", "nonce"], primary=told)
    write_report(tmp_path, outcome_of(config), plan_steps(config, tmp_path), config)
    page = (tmp_path / "report.html").read_text()
    assert 'id="belief"' in page and "arrow leads" not in page
    assert "<em>nonce</em>, a tag with the same values that nothing explains." in page
    assert "python -m study.run +experiment=told out=" in page


def test_the_shipped_reports_name_no_folder_of_the_machine_that_made_them():
    pages = sorted((REPO / "results").rglob("*.html"))
    assert len(pages) >= 5
    for page in pages:
        named = re.findall(r"(?:out=|data=|log-dir )/\S+", page.read_text(encoding="utf-8"))
        assert named == [], page


def test_a_report_without_logs_is_made_of_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REPO / "results" / "quickstart", tmp_path / "qs")
    (tmp_path / "qs" / "report.html").unlink()
    lines = rebuild(tmp_path / "qs")
    page = (tmp_path / "qs" / "report.html").read_text()
    assert "study.json alone" in lines[0] and 'id="belief"' in page
    assert 'id="transcripts"' not in page and 'id="dose"' not in page
    assert "out=qs/adapters/treatment" in page and str(tmp_path) not in page
    with pytest.raises(RunDirError, match=r"holds no study.json"):
        rebuild(tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
def test_a_browser_opens_it_without_errors_and_its_filters_work(made, tmp_path):
    """The page's own script runs under its policy, the hostile one does not."""
    page = (made / "report.html").read_text()
    probe = (
        "const s = document.querySelector('#transcripts select[name=tier]'); s.value = 'paid';"
        "s.dispatchEvent(new Event('change'));"
        "const rows = [...document.querySelectorAll('#transcripts tbody tr')];"
        "document.title = 'shown ' + new Set(rows.filter(r => !r.hidden).map(r => r.dataset.tier)"
        ".values()).size + ' hidden ' + rows.some(r => r.hidden);"
    )
    # The probe stands in the page under the policy of a test; the page's script is unchanged.
    opened = page.replace("script-src ", "script-src 'nonce-test' ", 1)
    opened = opened.replace("</body>", f"<script nonce='test'>{probe}</script></body>")
    path = tmp_path / "probe.html"
    path.write_text(opened)
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=1000", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "<title>shown 1 hidden true</title>" in done.stdout
    assert not re.search(r"CONSOLE.*(error|refused|violates)", done.stderr, re.IGNORECASE)


def test_the_table_shows_arms_by_steps_and_what_is_left():
    from rich.console import Console

    steps = plan_steps(dose_study(corpora=["treatment", "swapped"]), Path("out"))
    states = {step.id: State() for step in steps}
    states["corpus treatment"] = State("done", seconds=5.0)
    states["adapter treatment seed 0"] = State("running", started=100.0)
    states["corpus swapped"] = State("failed", why="no disk")
    planned = {step.id: 60.0 for step in steps}
    console = Console(width=100, force_terminal=False, record=True, file=io.StringIO())
    console.print(table_of(steps, states, planned, 2, 130.0))
    text = console.export_text()
    assert "treatment/implicit" in text and "0:30 of ~1:00 0/3" in text and "✗ failed" in text
    assert eta(steps, states, {**planned, "adapter treatment seed 0": None}, 2, 130.0) is None
    one = [step for step in steps if step.id in ("corpus treatment", "adapter treatment seed 0")]
    assert eta(one, states, planned, 2, 130.0) == pytest.approx(30.0)


def test_two_studies_side_by_side(tmp_path):
    from study.compare import compare, differences, rows_of
    from study.published import published

    write_study_json(tmp_path / "a", outcome_of(dose_study()))
    changed = dose_study(seeds=[0], corpora=["treatment", "swapped"])
    write_study_json(tmp_path / "b", outcome_of(changed))
    compare([tmp_path / "a", tmp_path / "b"], tmp_path / "c.html", False)
    page = (tmp_path / "c.html").read_text()
    assert "treatment-swapped" in page and "seeds differs: a: [0, 1, 2]; b: [0]" in page
    compare([tmp_path / "a", tmp_path / "b"], tmp_path / "c.md", False)
    assert "| gap.log_odds | treatment-swapped |" in (tmp_path / "c.md").read_text()
    outcomes = [published(tmp_path / name) for name in ("a", "a")]
    assert differences(outcomes, ["a", "a"]) == []
    assert not any(row.is_apart for row in rows_of(outcomes, show_all=True))


def test_figures_whose_intervals_do_not_meet_are_marked():
    from study.compare import rows_of

    one, other = outcome_of(dose_study()), outcome_of(dose_study())
    flipped = next(e for e in other.estimates if e.measure == "gap.log_odds" and e.low > 0)
    place = list(other.estimates).index(flipped)
    moved = flipped.__class__(**{**flipped.__dict__, "estimate": -9, "low": -9.5, "high": -8.5})
    other.estimates[place] = moved
    apart = [row for row in rows_of([one, other], show_all=True) if row.is_apart]
    assert [(row.measure, row.arm, row.contrast) for row in apart] == [
        (flipped.measure, flipped.arm, flipped.contrast)
    ]
