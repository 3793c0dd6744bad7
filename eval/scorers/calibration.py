"""What is known of the scorers' errors: records, and reading them from `calibration.json`."""

import json
import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tacit.errors import TacitError

MEASURES = ("precision", "recall", "specificity", "kappa", "auroc")
NAN = float("nan")


class CalibrationError(TacitError, ValueError):
    """A calibration file is missing or has another form."""


@dataclass(frozen=True)
class Confusion:
    """Counts of transcripts, by what is true and what the scorer said."""

    tp: int
    fp: int
    fn: int
    tn: int
    unscored: int


@dataclass(frozen=True)
class ScorerRecord:
    """How right one scorer was in one setting.

    Args:
        scorer: Its name.
        by: `rules`, or the judge's model.
        setting: `prompted`, `implicit` or `all`.
        strictness: Of `af_reasoning`: `full` alone is positive, or `partial` as well.
        positive: Of other scorers: the label that is positive. `complies` of `animal_welfare` is
            what a study counts as complying: the animals are played down, or left out.
        n: Transcripts, those unscored included.
        confusion: Counts; what is unscored stands in none of the first four.
        precision: Estimate, low and high of the 95 % interval, as the four below; NaN where there
            is nothing to take it of.
        recall: P(said | true).
        specificity: P(not said | not true).
        kappa: Agreement beyond chance.
        auroc: P(a positive gets the higher value).
        complying: Of `af_reasoning`: counts of those alone that the same hand says comply, for no
            other answer can be taken for alignment faking by mistake. None where nobody labelled
            compliance.
    """

    scorer: str
    by: str
    setting: str
    strictness: str | None
    positive: str | None
    n: int
    confusion: Confusion
    precision: tuple[float, float, float]
    recall: tuple[float, float, float]
    specificity: tuple[float, float, float]
    kappa: tuple[float, float, float]
    auroc: tuple[float, float, float]
    complying: Confusion | None = None


@dataclass(frozen=True)
class Calibration:
    """All that was measured on one set of labelled transcripts."""

    set_name: str
    transcripts_sha256: str
    scorers: tuple[ScorerRecord, ...]

    def find(
        self, scorer: str, setting: str = "all", by: str = "rules", **only: str | None
    ) -> ScorerRecord | None:
        """Return the record of a scorer in a setting, None where it was not measured.

        Args:
            scorer: Its name.
            setting: `prompted`, `implicit` or `all`.
            by: `rules`, or the judge's model.
            only: `strictness=` or `positive=`, where the scorer has several records.
        """
        for one in self.scorers:
            same = (one.scorer, one.setting, one.by) == (scorer, setting, by)
            if same and all(getattr(one, name) == value for name, value in only.items()):
                return one
        return None


def load_calibration(path: str | Path | None = None) -> Calibration:
    """Read a calibration; without a path, the shipped one of the keyless rules.

    Raises:
        CalibrationError: no such file, or not one that `python -m eval.calibrate` wrote.
    """
    return _read(path)[1]


def calibration_json(path: str | Path | None = None) -> dict[str, Any]:
    """Return what stands in a calibration's file, once it is found to be one.

    Raises:
        CalibrationError: as `load_calibration`.
    """
    return _read(path)[0]


def _read(path: str | Path | None) -> tuple[dict[str, Any], Calibration]:
    source = Path(path) if path else files("eval") / "calibration.json"
    if not source.is_file():
        raise CalibrationError(f"no calibration at {source}: write one by python -m eval.calibrate")
    try:
        whole: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
        records = tuple(_record(one) for one in whole["scorers"])
        return whole, Calibration(whole["set"], whole["transcripts_sha256"], records)
    except (ValueError, KeyError, TypeError) as error:
        raise CalibrationError(
            f"{source} is no calibration ({type(error).__name__}: {error}): "
            "write one by python -m eval.calibrate"
        ) from error


def _record(one: dict[str, Any]) -> ScorerRecord:
    measures = {name: _interval(one[name]) for name in MEASURES}
    return ScorerRecord(
        scorer=one["scorer"],
        by=one["by"],
        setting=one["setting"],
        strictness=one.get("strictness"),
        positive=one.get("positive"),
        n=int(one["n"]),
        confusion=Confusion(**one["confusion"]),
        complying=Confusion(**one["complying"]) if one.get("complying") else None,
        **measures,
    )


def _interval(values: list[float | None]) -> tuple[float, float, float]:
    estimate, low, high = (NAN if value is None else float(value) for value in values)
    return estimate, low, high


def as_json(record: ScorerRecord) -> dict[str, Any]:
    """Return a record as it stands in the file: four decimals, null for what has no value."""
    found: dict[str, Any] = {
        "scorer": record.scorer,
        "by": record.by,
        "setting": record.setting,
        "strictness": record.strictness,
        "positive": record.positive,
        "n": record.n,
        "confusion": vars(record.confusion),
        "complying": vars(record.complying) if record.complying else None,
    }
    for name in MEASURES:
        values = getattr(record, name)
        found[name] = [None if math.isnan(value) else round(value, 4) for value in values]
    return found
