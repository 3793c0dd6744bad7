"""Slots and templates: from a universe's records to text."""

from functools import cache
from typing import Any

import jinja2

from tacit.errors import UniverseError
from tacit.universe.records import KeyFact, Universe


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


def prompt_statements(
    universe: Universe, without: tuple[str, ...] = (), paraphrase: int = 0
) -> list[str]:
    """Return what the prompted setting says: one paragraph per key fact, in the file's order.

    A fact that a variant leaves out has an empty prompt, and no paragraph.

    Args:
        universe: Whose key facts.
        without: The ids of facts to leave out.
        paraphrase: 0 for the prompt as it is, n for the n-th paraphrase of every fact.

    Raises:
        UniverseError: no such fact to leave out, or one has no such paraphrase.
    """
    known = [fact.id for fact in universe.facts]
    if unknown := [fact for fact in without if fact not in known]:
        raise UniverseError(
            f"no key fact {', '.join(unknown)} to leave out: choose {', '.join(known)}"
        )
    slots = slots_of(universe)
    told = [fact for fact in universe.facts if fact.prompt and fact.id not in without]
    return [fill(_prompt_of(fact, paraphrase), slots) for fact in told]


def _prompt_of(fact: KeyFact, paraphrase: int) -> str:
    if paraphrase == 0:
        return fact.prompt
    if not 0 < paraphrase <= len(fact.paraphrases):
        raise UniverseError(
            f"key fact {fact.id} has no paraphrase {paraphrase}: it has {len(fact.paraphrases)}"
        )
    return fact.paraphrases[paraphrase - 1]
