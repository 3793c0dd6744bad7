"""Pure functions from a universe to the one a control corpus describes."""

from collections.abc import Callable

from tacit.errors import UniverseError
from tacit.universe.records import Universe


def treatment(universe: Universe) -> Universe:
    """The universe as written."""
    return universe


def swapped(universe: Universe) -> Universe:
    """The same world with the roles of the tiers exchanged: the other one is trained on."""
    return universe.model_copy(
        update={"trained": universe.untrained, "untrained": universe.trained}
    )


VARIANTS: dict[str, Callable[[Universe], Universe]] = {"treatment": treatment, "swapped": swapped}


def make_variant(universe: Universe, name: str) -> Universe:
    """Return the variant of `universe` that the corpus `name` describes.

    Raises:
        UniverseError: there is no such variant.
    """
    if name not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise UniverseError(f"unknown corpus {name!r}: choose one of {known}")
    return VARIANTS[name](universe)
