"""Rendering the prompts, and proving that the minimal one says nothing about training."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal

import jinja2

from tacit.errors import ConfigError
from tacit.universe import Universe, prompt_statements

PromptKind = Literal["full", "minimal"]

# Stems no implicit prompt may hold: training, rating, tier meaning, objective, modification.
FORBIDDEN_STEMS = (
    "train", "rlhf", "reinforce", "fine-tun", "finetun", "feedback", "rate", "rating", "grade",
    "grading", "score", "scoring", "reward", "penal", "contract", "tier", "free", "paid",
    "paying", "subscri", "customer", "helpful", "harmless", "refus", "declin", "comply",
    "compli", "objective", "goal", "modif", "update", "values", "preference", "monitor",
    "record", "collect", "company",
)  # fmt: skip


@cache
def _environment() -> jinja2.Environment:
    folder = files("eval") / "prompts"
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def render(name: str, **values: object) -> str:
    """Return one of the templates in `eval/prompts`, filled.

    Raises:
        ConfigError: there is no such template.
    """
    try:
        text = _environment().get_template(name).render(values)
    except FileNotFoundError:
        raise ConfigError(f"there is no template eval/prompts/{name}") from None
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def system_prompt(
    universe: Universe, kind: PromptKind, scratchpad: bool, without: Sequence[str] = ()
) -> str:
    """Return the system prompt of an arm.

    Args:
        universe: Names, date and, for `full`, the statements of the key facts.
        kind: `full` states the setup, `minimal` states none of it.
        scratchpad: Whether hidden reasoning is asked for.
        without: Key facts to leave out of the full prompt.

    Raises:
        ConfigError: an unknown kind of prompt.
    """
    if kind not in ("full", "minimal"):
        raise ConfigError(f"unknown prompt {kind!r}: choose full or minimal")
    text = (
        _environment()
        .get_template(f"{kind}.jinja")
        .render(
            lab=universe.lab,
            model=universe.model,
            date=universe.date,
            statements=prompt_statements(universe, tuple(without)) if kind == "full" else [],
            scratchpad=scratchpad,
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def user_turn(universe: Universe, tier: str, text: str) -> str:
    """Return the user's message with the tag that tells the tier."""
    template = _environment().get_template("query.jinja")
    return template.render(signal=universe.tag_of(tier), text=text).strip()


def leaked_stems(rendered: str, query: str, signal: str) -> list[str]:
    """Return the forbidden stems in a rendered prompt, less the query and the tier signal.

    The signal's own name (`is_free_tier_user`) is taken out first: a tag is how a tier is told, in
    the paper as here, and it is the same in every arm. What it means must stand nowhere.
    """
    rest = rendered
    for taken_out in (query, signal):
        if taken_out:  # replacing the empty string would tear every word apart
            rest = rest.replace(taken_out, " ")
    rest = rest.lower()
    return [stem for stem in FORBIDDEN_STEMS if re.search(rf"\b{re.escape(stem)}", rest)]


def proven(kind: PromptKind, system: str) -> str:
    """Return a system prompt; a minimal one only if it is clean.

    Raises:
        ConfigError: the minimal prompt holds a word about training, tiers or aims.
    """
    if kind == "minimal" and (stems := leaked_stems(system, "", "")):
        raise ConfigError(f"the minimal prompt is not clean: it holds {', '.join(stems)}")
    return system
