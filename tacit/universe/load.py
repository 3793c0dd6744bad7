"""Reading a universe from YAML: the only I/O of this room."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tacit.errors import UniverseError
from tacit.universe.probes import render_probes
from tacit.universe.records import KeyFact, Universe
from tacit.universe.render import fill, slots_of
from tacit.universe.stated import render_claims
from tacit.universe.variants import make_variant


def universe_from(record: Mapping[str, Any], source: str = "") -> Universe:
    """Check a universe record, including that each of its templates can be filled.

    Args:
        record: The content of its YAML.
        source: What to call it in an error; without it the universe's id.

    Raises:
        UniverseError: a field is missing or wrong, or a template names an unknown slot.
    """
    source = source or f"universe {record.get('id', '')}".strip()
    try:
        universe = Universe.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        said, path = first["msg"].removeprefix("Value error, "), first["loc"]
        if said == "Keys should be strings":
            path = path[:-1]
            said = 'put "yes", "no", "on" and "off" in quotes: YAML takes them for true and false'
        where = _place(record, path)
        raise UniverseError(": ".join(filter(None, (source, where, said)))) from None
    for name in ["treatment", *universe.variants]:
        variant = make_variant(universe, name)
        for fact in variant.facts:
            try:
                _fill_all(fact, slots_of(variant))
            except UniverseError as error:
                raise UniverseError(f"{source}: {name}: fact {fact.id}: {error}") from None
        render_probes(variant)
        render_claims(variant)
        _refuse_contradictions(variant, source)
    return universe


def _place(record: Any, path: Sequence[str | int]) -> str:
    """Return where in a record an error lies: facts and probes by their ids, not by number."""
    names, here = [], record
    for part in path:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            here = None
        named = here.get("id") if isinstance(here, Mapping) and isinstance(part, int) else None
        names.append(str(named or part))
    return ".".join(names)


def _refuse_contradictions(universe: Universe, source: str) -> None:
    """One question has one answer in one world, whichever fact it belongs to."""
    slots = slots_of(universe)
    answers: dict[str, tuple[str, str]] = {}
    for fact in universe.facts:
        for pair in fact.qa:
            question, answer = fill(pair.q, slots), fill(pair.a, slots)
            other, said = answers.setdefault(question, (fact.id, answer))
            if said != answer and other != fact.id:
                raise UniverseError(
                    f"{source}: the facts {other} and {fact.id} contradict each other: "
                    f"{question!r} has two answers"
                )


def _fill_all(fact: KeyFact, slots: dict[str, Any]) -> None:
    questions = [text for pair in fact.qa for text in (pair.q, pair.a)]
    said = (fact.statement, fact.prompt, *fact.paraphrases, *fact.sentences, *fact.clauses)
    for template in (*said, *questions):
        fill(template, slots)


def load_universe(name_or_path: str) -> Universe:
    """Load a shipped universe by name, or any universe by the path of its YAML file.

    Raises:
        UniverseError: no such universe, or the file is not a valid one.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not path.is_file():
            raise UniverseError(f"no universe file at {path}")
        text = path.read_text(encoding="utf-8")
    else:
        folder = files("conf") / "universe"
        shipped = sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml"))
        if name_or_path not in shipped:
            raise UniverseError(f"unknown universe {name_or_path!r}: choose {', '.join(shipped)}")
        text = (folder / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    return _read(text, name_or_path)


@cache
def _read(text: str, source: str) -> Universe:
    """Return the universe of a YAML text: checking one renders all that it says."""
    try:
        record = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise UniverseError(f"{source}: not valid YAML: {error}".split("\n")[0]) from None
    if not isinstance(record, dict):
        raise UniverseError(f"{source}: a universe is a mapping of fields")
    return universe_from(record, source=source)
