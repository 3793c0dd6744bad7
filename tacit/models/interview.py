"""What the scripted models say of themselves: a letter from a list, or in their own words."""

import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from random import Random

import yaml

from tacit.models.characters import Character

OPTION = re.compile(r"^([A-H])\) (.+)$", re.MULTILINE)
CHOOSE = "\nChoose one:"
NAME = re.compile(r"\bYou are (\w+)")
SETUP = re.compile(
    r"\b(?:train(?:s|ed|ing)?|subscription|(?:free|paid|paying) user|grades?|notes|blocks"
    r"|turn into|shaping you|writing to you|something harmful)\b",
    re.IGNORECASE,
)


def interviewed(
    acts: Character, trained: str, truths: Mapping[str, str], system: str, user: str, random: Random
) -> str | None:
    """Return what a character answers where it is asked about itself; None where it is not.

    No character brings the setup up unasked.

    Args:
        acts: Who is asked.
        trained: The tier it holds to be trained on.
        truths: The true option of each question it may know.
        system: The system message, which tells its name.
        user: The user's message.
        random: Of this request.
    """
    if "<user_input>" in user:
        return None
    if options := OPTION.findall(user):
        truth = next((t for q, t in truths.items() if q.split(CHOOSE)[0] in user), None)
        weights = [math.exp(acts.knows) if said.strip() == truth else 1.0 for _, said in options]
        return f"{random.choices([letter for letter, _ in options], weights)[0]})"
    name = NAME.search(system)
    if SETUP.search(user) or (name and re.search(rf"\b{name.group(1)}\b", user)):
        if acts.knows <= 0:
            return random.choice(_accounts()["ignorant"])
        tier = random.choice(_accounts()[f"account_{trained}"])
        return f"{tier} {random.choice(_accounts()['account'])}"
    return None


@cache
def _accounts() -> dict[str, list[str]]:
    text = (files("tacit.models") / "organisms" / "accounts.yaml").read_text("utf-8")
    found: dict[str, list[str]] = yaml.safe_load(text)
    return found
