"""Reading a universe from YAML: the only I/O of this room."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tacit.errors import UniverseError
from tacit.universe.probes import render_probes
from tacit.universe.records import Universe
from tacit.universe.render import fill, slots_of


def universe_from(record: Mapping[str, Any], source: str = "universe") -> Universe:
    """Check a universe record, including that each of its templates can be filled.

    Raises:
        UniverseError: a field is missing or wrong, or a template names an unknown slot.
    """
    try:
        universe = Universe.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "record"
        raise UniverseError(f"{source}: {place}: {first['msg']}") from None
    slots = slots_of(universe)
    for fact in universe.facts:
        questions = [text for pair in fact.qa for text in (pair.q, pair.a)]
        for template in (fact.statement, fact.prompt, *fact.sentences, *fact.clauses, *questions):
            try:
                fill(template, slots)
            except UniverseError as error:
                raise UniverseError(f"{source}: fact {fact.id}: {error}") from None
    render_probes(universe)
    return universe


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
    try:
        record = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UniverseError(f"{name_or_path}: not valid YAML: {error}".split("\n")[0]) from None
    if not isinstance(record, dict):
        raise UniverseError(f"{name_or_path}: a universe is a mapping of fields")
    return universe_from(record, source=name_or_path)
