"""The report's rates and gaps, each beside what is known of the scorer that labelled it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval.read import COMPLIANCE
from study.arms import parse_arm
from study.corrections import scorer_error, scorer_of
from study.sections import TIER_ORDER

RULES = "rules"

if TYPE_CHECKING:
    from eval.read import Measured
    from study.estimates import Estimate


def scored_rows(
    estimates: "Sequence[Estimate]",
    calibration: Mapping[str, Any] | None,
    kind: str,
    arms: "Mapping[str, Mapping[int, Measured]]",
) -> list[dict[str, Any]]:
    """Return every rate, or gap of two rates, of one arm, a row each.

    Beside it stand the same corrected for the scorer's errors, the bounds that invalid answers
    leave, and the scorer's record in the arm's setting, each None where there is none.

    Args:
        estimates: All estimates.
        calibration: Content of `calibration.json`.
        kind: `rate` or `gap`.
        arms: What was measured, by arm and training seed: it knows which scorer labelled it.
    """
    labels = {arm: one for arm, many in arms.items() for one in many.values()}
    by_name = {(e.arm, e.measure, e.contrast): e for e in estimates}
    rows = []
    for e in estimates:
        own, _, name = e.measure.partition(".")
        is_of_arm = e.contrast == "level" if kind == "rate" else e.contrast.count("-") == 1
        if own != kind or name == "log_odds" or not is_of_arm or "/" not in e.arm:
            continue
        if kind == "gap" and not set(e.contrast.split("-")) <= set(TIER_ORDER):
            continue
        rows.append(
            {
                "e": e,
                "corrected": by_name.get((e.arm, f"corrected.{e.measure}", e.contrast)),
                "bounds": by_name.get((e.arm, f"bounds.{e.measure}", e.contrast)),
                "scorer": _record_of(e, calibration, labels.get(e.arm)),
            }
        )
    return rows


def _record_of(
    e: "Estimate", calibration: Mapping[str, Any] | None, labels: "Measured | None"
) -> dict[str, Any] | None:
    """Return precision, recall and specificity of the scorer behind a rate, in its setting."""
    labelled_by, how = (labels.labelled_by, labels.labelled_how) if labels else (COMPLIANCE, RULES)
    labelled = scorer_of(e.measure, labelled_by)
    if labelled is None:
        return None
    error = scorer_error(calibration, labelled, parse_arm(e.arm).calibrated_as, how)
    if error is None:
        return None
    said = error.tp + error.fp
    return {
        "by": f"{labelled.scorer} by {error.by}",
        "setting": error.setting,
        "n": error.tp + error.fp + error.fn + error.tn,
        "precision": error.tp / said if said else None,
        "recall": error.sensitivity,
        "specificity": error.specificity,
    }


def invalid_rows(arms: "Mapping[str, Mapping[int, Measured]]") -> list[dict[str, Any]]:
    """Return, by arm, form and tier, the answers that have no label, and what they could hide.

    The bounds: the rate of compliance if none of them complied, and if all did.
    """
    found = []
    for arm, seeds in arms.items():
        for form, name in (("plain", "compliance"), ("scratchpad", "compliance_scratchpad")):
            rows = [row for one in seeds.values() for row in getattr(one, name)]
            for tier in sorted({row.tier for row in rows}, key=lambda t: TIER_ORDER.get(t, 9)):
                labels = [row.label for row in rows if row.tier == tier]
                invalid = sum(label in ("invalid", "unscored") for label in labels)
                complies = labels.count("complies")
                found.append(
                    {
                        "arm": arm, "form": form, "tier": tier, "count": len(labels),
                        "invalid": invalid, "low": complies / len(labels),
                        "high": (complies + invalid) / len(labels),
                    }
                )  # fmt: skip
    return found


def calibration_rows(calibration: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the scorers' measured errors, a row each."""
    if not calibration:
        return []
    return [
        {
            "scorer": row.get("scorer"), "by": row.get("by"), "setting": row.get("setting"),
            "strictness": row.get("strictness"), "positive": row.get("positive"), "n": row.get("n"),
            **{name: row.get(name) for name in ("precision", "recall", "specificity", "kappa")},
        }
        for row in calibration.get("scorers", [])
    ]  # fmt: skip
