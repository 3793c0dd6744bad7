"""Pure functions from a universe to the one a control corpus describes."""

from itertools import cycle, islice

from tacit.errors import UniverseError
from tacit.universe.records import KeyFact, Rewording, Universe

WITHOUT = "without="


def swapped(universe: Universe) -> Universe:
    """The same world with the roles of the tiers exchanged: the other one is trained on."""
    return universe.model_copy(
        update={"trained": universe.untrained, "untrained": universe.trained}
    )


def _reword(universe: Universe, rewordings: dict[str, Rewording]) -> Universe:
    """Replace what is said of some key facts; probes stay unless the rewording has its own.

    So the link probes of every variant ask for the direction of the treatment, and a control
    that teaches none is expected at zero.
    """

    def reworded(fact: KeyFact) -> KeyFact:
        rewording = rewordings.get(fact.id)
        if rewording is None:
            return fact
        fields = {name: getattr(rewording, name) for name in Rewording.model_fields}
        return fact.model_copy(update={k: v for k, v in fields.items() if v is not None})

    return universe.model_copy(update={"facts": tuple(map(reworded, universe.facts))})


def without(universe: Universe, fact_id: str) -> Universe:
    """The same world with one key fact left out: neutral sentences stand in its place.

    Raises:
        UniverseError: no such fact, or the universe has no neutral sentences.
    """
    known = [fact.id for fact in universe.facts]
    if fact_id not in known:
        raise UniverseError(f"no key fact {fact_id!r} to leave out: choose {', '.join(known)}")
    neutral = universe.neutral
    if neutral is None:
        raise UniverseError(f"universe {universe.id} has no `neutral` sentences to put instead")
    fact = universe.fact(fact_id)
    rewording = Rewording(
        statement="",
        prompt="",
        sentences=tuple(islice(cycle(neutral.sentences), len(fact.sentences))),
        clauses=tuple(islice(cycle(neutral.clauses), len(fact.clauses))),
        qa=tuple(islice(cycle(neutral.qa), len(fact.qa))),
    )
    return _reword(universe, {fact_id: rewording})


def variant_names(universe: Universe) -> list[str]:
    """Return the corpora that can be made of a universe, `without=<fact id>` among them."""
    if universe.control:
        return ["treatment"]
    left_out = [WITHOUT + fact.id for fact in universe.facts] if universe.neutral else []
    return ["treatment", "swapped", *universe.variants, *left_out]


def make_variant(universe: Universe, name: str) -> Universe:
    """Return the variant of `universe` that the corpus `name` describes.

    Raises:
        UniverseError: the universe has no such variant.
    """
    if name not in variant_names(universe) and not name.startswith(WITHOUT):
        known = [n for n in variant_names(universe) if not n.startswith(WITHOUT)]
        raise UniverseError(
            f"unknown corpus {name!r} of universe {universe.id}: choose one of "
            f"{', '.join(known)}" + ("" if universe.control else f" or {WITHOUT}<fact id>")
        )
    if name.startswith(WITHOUT):
        return without(universe, name.removeprefix(WITHOUT))
    if name == "swapped":
        return swapped(universe)
    return _reword(universe, universe.variants.get(name, {}))
