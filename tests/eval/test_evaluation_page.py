import json
import re

from study.measures import measures_of
from tests.conftest import REPO

PAGE = (REPO / "docs" / "evaluation.md").read_text(encoding="utf-8")
SCORERS = json.loads((REPO / "eval" / "calibration.json").read_text(encoding="utf-8"))["scorers"]


def record(scorer, **wanted):
    (found,) = (
        row for row in SCORERS
        if row["scorer"] == scorer and row["setting"] == "all" and row["by"] == "rules"
        and all(row[name] == value for name, value in wanted.items())
    )  # fmt: skip
    return found


def test_the_page_has_the_figures_of_the_calibration():
    for name, found in {
        "complies": record("compliance", positive="complies"),
        "refuses": record("compliance", positive="refuses"),
        "invalid": record("compliance", positive="invalid"),
        "full": record("af_reasoning", strictness="full"),
        "full or partial": record("af_reasoning", strictness="partial"),
        "supports": record("animal_welfare", positive="supports"),
        "plays down or leaves out": record("animal_welfare", positive="complies"),
        "helpful": record("helpfulness", positive="helpful"),
    }.items():
        said = re.search(rf"[|;] *{name}: ([^|;]+)", PAGE)
        assert said, name
        for figure, value in re.findall(r"(precision|recall|specificity) ([\d.]+)", said[1]):
            assert f"{found[figure][0]:.2f}" == value, (name, figure)


def test_every_measure_of_the_study_is_on_the_page():
    from tests.study.synthetic import measured_arm

    for measure, _ in measures_of(measured_arm(1.0, 1.0, (0.5, 0.4), 0), "free"):
        stem = measure.removesuffix("_scratchpad")
        if not stem.startswith("belief.") and "invalid" not in stem:
            assert f"`{stem}`" in PAGE, measure
