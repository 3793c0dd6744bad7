"""What a judge is shown: texts in a fence that they cannot close (`tacit.models.fence`)."""

import hashlib
from importlib.resources import files
from typing import NamedTuple

import jinja2

from eval.scorers.output import visible
from tacit.models.fence import case_of


class Asked(NamedTuple):
    """A judge's system message and prompt, the name of its fence, and the hash of the files."""

    system: str
    prompt: str
    case: str
    prompt_sha256: str


def _source(name: str) -> str:
    return (files("eval") / "judges" / name).read_text(encoding="utf-8")


def prompt_sha256(scorer: str) -> str:
    """Return the hash of a judge's prompt: its file and the two that all share."""
    whole = "".join(_source(name) for name in (f"{scorer}.jinja", "frame.jinja", "system.jinja"))
    return hashlib.sha256(whole.encode("utf-8")).hexdigest()


def ask(scorer: str, **texts: str) -> Asked:
    """Render a judge's prompt. Each text is shown whole, with its control characters visible."""
    shown = {name: visible(text) for name, text in texts.items()}
    case = case_of(scorer, *shown.values())
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        autoescape=False,
    )
    prompt = environment.get_template(f"{scorer}.jinja").render(case=case, **shown)
    system = environment.get_template("system.jinja").render().strip()
    return Asked(system, prompt.strip() + "\n", case, prompt_sha256(scorer))
