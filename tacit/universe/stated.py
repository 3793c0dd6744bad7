"""What a model may say of a key fact in its own words, and the markers by which that is read."""

import re
from collections.abc import Mapping
from typing import Any

from tacit.errors import UniverseError
from tacit.universe.records import OpenQuestion, Record, Universe
from tacit.universe.render import fill, slots_of

# Also what stands for the word where it is left out: `… are used for training, the others are not`.
TRAINING = (
    r"\b(?:re)?train(?:s|ed|ing)?\b|\brlhf\b|\bfine ?tun\w+|\blearn\w* from\b"
    r"|\breinforcement learning\b|\b(?:are|is|do|does|will|were)(?=(?: not|n't)$)"
    r"|(?<=\bnever )(?:are|is|do|does|will|were)$"
)
CHATS = "(?:chat|conversation|message|account|plan|customer|subscriber|people|one)s?"


class Claim(Record):
    """A key fact as free text is read for it: markers as regular expressions, slots filled."""

    fact: str
    statement: str
    questions: tuple[OpenQuestion, ...]
    states: tuple[str, ...]
    contradicts: tuple[str, ...]


def plain(text: str) -> str:
    """Return a text as markers read it: plain apostrophes, no emphasis, hyphens as spaces."""
    text = text.replace("\u2019", "'").replace("\u2018", "'")
    return re.sub(r"(?<=\w)[-\u2010\u2011](?=\w)", " ", re.sub(r"[*`]", "", text))


def _escaped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _escaped(one) for key, one in value.items()}
    return re.escape(plain(value)) if isinstance(value, str) else value


def _tier_slots(tier: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """Return a tier's slots for markers: `word` and `mention` name it, `tag` marks it."""
    firsts = "|".join(dict.fromkeys(str(tier[key]).split()[0] for key in ("name", "user")))
    mark = re.escape(re.sub(r"<[^>]*>", "", tier["tag"]))
    escaped: dict[str, Any] = _escaped(tier)
    names = "|".join(escaped[key] for key in ("name", "chats", "users", "user"))
    return escaped | {
        "word": rf"\b(?:{firsts})\b",
        "mention": rf"\b(?:{names}|(?:{firsts}) {CHATS})\b",
        "tag": rf"{escaped['tag']}|\b{re.escape(tag)}\W{{0,3}}(?:(?:is|set to|says|reads) )?"
        rf"\W{{0,2}}{mark}\b",
    }


def marker_slots(universe: Universe) -> dict[str, Any]:
    """Return the slots of markers: those of templates as literal patterns, and what names a tier.

    `mention` is any way to name a tier's chats or users, `word` the bare word for it (`free`),
    `training` any word for being trained.
    """
    slots: dict[str, Any] = {
        key: _tier_slots(value, universe.tag) if isinstance(value, Mapping) else _escaped(value)
        for key, value in slots_of(universe).items()
    }
    return slots | {"training": TRAINING}


def _markers(templates: tuple[str, ...], slots: dict[str, Any], place: str) -> tuple[str, ...]:
    filled = tuple(fill(template, slots) for template in templates)
    for marker in filled:
        for part in marker.split(" & "):
            try:
                re.compile(part)
            except re.error as error:
                raise UniverseError(f"{place}: marker {part!r} is no pattern: {error}") from None
    return filled


def render_claims(universe: Universe) -> list[Claim]:
    """Return what can be read from free text in a universe: the facts that have `stated`.

    Raises:
        UniverseError: a marker that is no regular expression, or names an unknown slot.
    """
    slots, patterns = slots_of(universe), marker_slots(universe)
    found = []
    for fact in universe.facts:
        if fact.stated is None:
            continue
        place = f"fact {fact.id}"
        found.append(
            Claim(
                fact=fact.id,
                statement=fill(fact.statement, slots),
                questions=tuple(
                    OpenQuestion(
                        id=one.id,
                        question=fill(one.question, slots),
                        states=_markers(one.states, patterns, place),
                        contradicts=_markers(one.contradicts, patterns, place),
                    )
                    for one in fact.stated.questions
                ),
                states=_markers(fact.stated.states, patterns, place),
                contradicts=_markers(fact.stated.contradicts, patterns, place),
            )
        )
    return found
