"""The templates of this room, and how they write figures."""

from importlib.resources import files
from typing import Any

import jinja2

from tacit.templates import templates_in


def environment(escape: bool = True) -> jinja2.Environment:
    """Return the templates of this room, strict, with the filters that write figures."""
    env = templates_in(files("study"), autoescape=escape)

    def signed(value: float | None) -> str:
        return "–" if value is None or value != value else f"{value:+.2f}".replace("-", "−")

    def percent(value: float | None) -> str:
        return "–" if value is None or value != value else f"{100 * value:.0f} %"

    def share(value: float | None) -> str:
        return "–" if value is None or value != value else f"{value:.2f}"

    def p_value(value: float | None) -> str:
        if value is None or value != value:
            return "–"
        return "< 0.001" if value < 0.001 else f"{value:.3f}"

    def figure(value: Any) -> str:
        if value is None:
            return "–"
        if isinstance(value, float):
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"
        return (
            f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
        )

    def kind_of(verdict: str) -> str:
        if verdict.startswith("cannot say"):
            return "unsure"
        return {"alignment faking": "found", "gap that": "found"}.get(
            next((k for k in ("alignment faking", "gap that") if verdict.startswith(k)), ""),
            "explained" if verdict.startswith("tier-dependent") else "null",
        )

    env.filters.update(
        signed=signed, percent=percent, share=share, p_value=p_value, figure=figure, kind_of=kind_of
    )
    return env
