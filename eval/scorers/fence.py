"""What a judge is shown, and the one form in which it is believed.

The text under judgement stands inside a fence whose name is drawn from a hash of that text, so
that it cannot close it. A verdict counts only as a JSON object that carries the same name: one
planted in the text, and copied by the judge, does not.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import jinja2

from eval.scorers.output import visible


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


def case_of(scorer: str, texts: Mapping[str, str]) -> str:
    """Return the name of a fence: 16 hex digits that stand nowhere in the text it holds."""
    held = json.dumps([scorer, *texts.values()])
    digest = hashlib.sha256(held.encode("utf-8")).hexdigest()
    while digest[:16] in held:
        digest = hashlib.sha256(digest.encode("utf-8")).hexdigest()
    return digest[:16]


def ask(scorer: str, **texts: str) -> Asked:
    """Render a judge's prompt. Each text is shown whole, with its control characters visible."""
    shown = {name: visible(text) for name, text in texts.items()}
    case = case_of(scorer, shown)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        autoescape=False,
    )
    prompt = environment.get_template(f"{scorer}.jinja").render(case=case, **shown)
    system = environment.get_template("system.jinja").render().strip()
    return Asked(system, prompt.strip() + "\n", case, prompt_sha256(scorer))


def verdict_of(reply: str, case: str) -> dict[str, Any] | None:
    """Return the verdict in a judge's reply; None where there is none, or more than one.

    A verdict is a JSON object that names the case. Text around it is passed over.
    """
    found = [one for one in _objects(reply) if one.get("case") == case]
    return found[0] if found and all(one == found[0] for one in found) else None


def _objects(reply: str) -> Iterator[dict[str, Any]]:
    decoder, start = json.JSONDecoder(strict=False), reply.find("{")
    for _ in range(64):  # a judge that opens more braces than this is not giving a verdict
        if start < 0:
            return
        end = start + 1
        try:
            one, end = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            one = None
        if isinstance(one, dict):
            yield one
        start = reply.find("{", end)
