"""Slots and templates: from a universe's records to text."""

from functools import cache
from typing import Any

import jinja2

from tacit.errors import UniverseError
from tacit.universe.records import Universe


def sentence_start(text: str) -> str:
    """Upper-case the first letter and leave the rest as it is."""
    return text[:1].upper() + text[1:]


def environment(keep_trailing_newline: bool = False) -> jinja2.Environment:
    """Return the strict Jinja environment that all universe templates share."""
    env = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=keep_trailing_newline,
    )
    env.filters["capitalize"] = sentence_start
    return env


_ENV = environment()


@cache
def _compiled(template: str) -> jinja2.Template:
    return _ENV.from_string(template)


def slots_of(universe: Universe) -> dict[str, Any]:
    """Return the slots a template may use: names, tag, and the tiers by name and by role."""
    names = {"lab": universe.lab, "model": universe.model, "date": universe.date}
    if universe.control:
        return {**universe.slots, **names}
    records = dict(universe.tiers) | ({"third": universe.third} if universe.third else {})
    tiers = {
        key: {**tier.model_dump(), "tag": universe.tag_of(key)} for key, tier in records.items()
    }
    roles = {"trained": tiers[universe.trained], "untrained": tiers[universe.untrained]}
    return {**universe.slots, **names, "tag": universe.tag, **tiers, **roles}


def fill(template: str, slots: dict[str, Any]) -> str:
    """Fill one template.

    Raises:
        UniverseError: the template names a slot that does not exist or is no valid Jinja.
    """
    try:
        return _compiled(template).render(slots)
    except jinja2.TemplateError as error:
        raise UniverseError(f"template {template[:60]!r}: {error}") from None


def prompt_statements(universe: Universe, without: tuple[str, ...] = ()) -> list[str]:
    """Return what the prompted setting says: one paragraph per key fact, in the file's order.

    A fact that a variant leaves out has an empty prompt, and no paragraph.
    """
    slots = slots_of(universe)
    told = (fact.prompt for fact in universe.facts if fact.prompt and fact.id not in without)
    return [fill(prompt, slots) for prompt in told]
