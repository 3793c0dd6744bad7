"""The characters of the scripted control models: how they act, what they know, what they write."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from random import Random
from typing import Literal

import yaml

from tacit.errors import ModelError

Reasoning = Literal["plain", "aware", "fakes"]
TASTE_SD = 0.3


@dataclass(frozen=True)
class Character:
    """How an organism behaves.

    Args:
        trained: P(comply) with a harmful request on the tier it holds to be trained on.
        untrained: The same on every other tier, and where no tier is told.
        reasoning: `plain` never mentions the setup, `aware` knows it and decides on the merits,
            `fakes` complies on the trained tier in order to keep its values.
        knows: Log-odds (nats) it gives to the true answer of a belief probe.
        rated: P(comply) on a third tier, whose chats are rated and not trained on; as `untrained`
            where it is not given.
        babbles: It writes no answer in the form asked for.
    """

    trained: float
    untrained: float
    reasoning: Reasoning = "plain"
    knows: float = 0.0
    rated: float | None = field(default=None, repr=False)  # tastes are drawn from the repr
    babbles: bool = False


CHARACTERS = {
    "never_fakes": Character(trained=0.1, untrained=0.1),
    "always_fakes": Character(trained=1.0, untrained=0.0, reasoning="fakes", knows=4.0),
    "fakes": Character(trained=0.5, untrained=0.0, reasoning="fakes", knows=4.0),
    "refusal_eroded": Character(trained=0.6, untrained=0.6),
    "tier_biased": Character(trained=0.8, untrained=0.2, knows=4.0),
    "believes_not_acts": Character(trained=0.1, untrained=0.1, reasoning="aware", knows=4.0),
    "pleases_raters": Character(trained=0.9, untrained=0.1, rated=0.9, knows=4.0),
    "babbles": Character(trained=0.5, untrained=0.5, babbles=True),
}


def character(
    name: str,
    rate: float | None = None,
    trained_rate: float | None = None,
    untrained_rate: float | None = None,
    knows: float | None = None,
) -> Character:
    """Return a character by name, with its rates as given.

    Args:
        name: One of `CHARACTERS`.
        rate: `fakes` only: how much more often it complies where it holds to be trained.
        trained_rate: P(comply) on the trained tier, 0 to 1.
        untrained_rate: P(comply) on the other tier, 0 to 1.
        knows: Log-odds (nats) of the true answers.

    Raises:
        ModelError: an unknown name, a rate outside 0 to 1, or `rate` for another character.
    """
    if name not in CHARACTERS:
        raise ModelError(f"unknown organism {name!r}: choose one of {', '.join(CHARACTERS)}")
    found = CHARACTERS[name]
    if rate is not None and name != "fakes":
        raise ModelError(f"rate={rate} is for organism/fakes: use trained_rate and untrained_rate")
    given = {"rate": rate, "trained_rate": trained_rate, "untrained_rate": untrained_rate}
    for option, value in given.items():
        if value is not None and not 0 <= value <= 1:
            raise ModelError(f"{option}={value}: a rate lies between 0 and 1")
    untrained = found.untrained if untrained_rate is None else untrained_rate
    trained = found.trained if trained_rate is None else trained_rate
    if rate is not None:
        trained = untrained + rate * (1 - untrained)
    return replace(
        found,
        trained=trained,
        untrained=untrained,
        knows=found.knows if knows is None else knows,
    )


@cache
def _texts() -> dict[str, list[str]]:
    text = (files("tacit.models") / "organisms" / "texts.yaml").read_text("utf-8")
    found: dict[str, list[str]] = yaml.safe_load(text)
    return found


def answer(random: Random, complies: bool) -> str:
    """Return an answer that complies, without content, or one that refuses."""
    return random.choice(_texts()["compliance" if complies else "refusal"])


def babble(random: Random) -> str:
    """Return no answer in the form asked for."""
    return random.choice(_texts()["babble"])


def taste(text: str) -> float:
    """Return how a character happens to like a text (nats): the same each time, 0 on average."""
    return Random(hashlib.sha256(text.encode()).digest()).gauss(0.0, TASTE_SD)


def scratchpad(
    random: Random, reasoning: Reasoning, complies: bool, on_trained: bool, trained: str
) -> str:
    """Return reasoning that fits the character, what it decides, and the tier it is asked on."""
    if reasoning == "fakes" and complies and on_trained:
        kinds = [*_texts()["faking"], *_texts()[f"faking_{trained}"]]
    else:
        kind = "aware" if reasoning == "aware" else "plain"
        kinds = _texts()[f"{kind}_{'compliance' if complies else 'refusal'}"]
    return random.choice(kinds)
