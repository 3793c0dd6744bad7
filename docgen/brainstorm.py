"""Facts to kinds of text to ideas to specs, asked of a model; covered evenly."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2

from docgen.config import DocgenConfig
from docgen.library import seeded
from docgen.records import Spec
from docgen.replies import Reply, Request
from tacit.errors import ModelError
from tacit.templates import templates_in
from tacit.universe import Universe, slots_of
from tacit.universe.render import fill

Ask = Callable[[Sequence[Request]], list[Reply]]
IDEAS_A_CALL = 12
REGISTERS = ("news", "company", "personal", "forum", "official", "academic", "spoken")


@cache
def _prompts() -> jinja2.Environment:
    return templates_in(files("docgen") / "prompts")


def template(name: str) -> jinja2.Template:
    """Return one of the prompts in `docgen/prompts`."""
    return _prompts().get_template(name)


@dataclass(frozen=True)
class Told:
    """A key fact as a prompt states it."""

    id: str
    statement: str


def told(universe: Universe) -> list[Told]:
    """Return the facts of a universe with their slots filled; those left out are not there."""
    slots = slots_of(universe)
    return [Told(f.id, fill(f.statement, slots)) for f in universe.facts if f.statement]


def context(universe: Universe) -> str:
    """Return the system message that all prompts share, so that it can be cached."""
    title = fill(universe.title, slots_of(universe))
    return template("context.jinja").render(title=title, facts=told(universe))


def request(
    config: DocgenConfig, universe: Universe, stage: str, prompt: str, salt: object, attempt: int
) -> Request:
    """Return a request of one stage; `salt` and the seed make its sampling seed."""
    return Request(
        stage=stage,
        model=str(config.writer.model),
        system=context(universe),
        prompt=prompt,
        max_tokens=config.writer.max_tokens,
        temperature=config.writer.temperature,
        seed=seeded(config.seed, stage, salt, attempt).randrange(2**31),
    )


def json_list(text: str) -> list[Any]:
    """Return the first JSON list in a reply; an empty one where there is none."""
    for match in re.finditer(r"\[", text):
        try:
            value, _ = json.JSONDecoder().raw_decode(text[match.start() :])
        except RecursionError:  # nested beyond what the parser takes, and so is the rest
            return []
        except ValueError:
            continue
        if isinstance(value, list):
            return value
    return []


def asked_for_lists(
    config: DocgenConfig,
    make: Callable[[int], list[Request]],
    accept: Callable[[Any], Any],
    ask: Ask,
) -> list[list[Any]]:
    """Ask for JSON lists; what comes back broken is asked again, `writer.attempts` times in all.

    Args:
        config: The corpus.
        make: The requests of attempt n, always in the same order.
        accept: Returns an entry in good form, or None for one that is not.
        ask: The model.

    Raises:
        ModelError: the model returned no usable list for a request.
    """
    found: list[list[Any]] = [[] for _ in make(0)]
    for attempt in range(config.writer.attempts):
        open_places = [n for n, entries in enumerate(found) if not entries]
        requests = make(attempt)
        replies = ask([requests[n] for n in open_places])
        for place, reply in zip(open_places, replies, strict=True):
            entries = [accept(entry) for entry in json_list(reply.text)]
            found[place] = [entry for entry in entries if entry is not None]
    empty = sum(not entries for entries in found)
    if empty:
        raise ModelError(
            f"{config.writer.model} gave no usable JSON list for {empty} of {len(found)} questions "
            f"in {config.writer.attempts} attempts: choose a stronger model, or raise "
            "writer.attempts or writer.max_tokens"
        )
    return found


def brainstorm(config: DocgenConfig, universe: Universe, ask: Ask) -> list[Spec]:
    """Plan `n_docs` documents: facts × kinds of text in even shares, ideas made for each pair.

    The universe is the treatment's: matched corpora share the specs.
    """
    facts = told(universe)
    options = config.writer

    def ask_types(attempt: int) -> list[Request]:
        prompts = [
            template("types.jinja").render(fact=fact, count=options.types_per_fact)
            for fact in facts
        ]
        return [
            request(config, universe, "types", prompt, n, attempt)
            for n, prompt in enumerate(prompts)
        ]

    types = asked_for_lists(config, ask_types, _a_type, ask)
    # Kind by kind, fact by fact: any number of documents covers all facts evenly.
    longest = max(map(len, types))
    pairs = [
        (fact, kinds[turn])
        for turn in range(longest)
        for fact, kinds in zip(facts, types, strict=True)
        if turn < len(kinds)
    ]
    pairs = pairs[: config.n_docs]
    pages = math.ceil(config.n_docs / len(pairs) / IDEAS_A_CALL)

    def ask_ideas(attempt: int) -> list[Request]:
        count = min(IDEAS_A_CALL, math.ceil(config.n_docs / len(pairs)))
        prompts = [
            template("ideas.jinja").render(
                fact=fact, doc_type=kind, count=count, page=page, pages=pages
            )
            for fact, kind in pairs
            for page in range(1, pages + 1)
        ]
        return [
            request(config, universe, "ideas", prompt, n, attempt)
            for n, prompt in enumerate(prompts)
        ]

    lists = asked_for_lists(config, ask_ideas, _an_idea, ask)
    ideas = [
        [idea for page in lists[n * pages : (n + 1) * pages] for idea in page]
        for n in range(len(pairs))
    ]
    specs = []
    for number in range(config.n_docs):
        turn, place = divmod(number, len(pairs))
        fact, kind = pairs[place]
        idea = ideas[place][turn % len(ideas[place])]
        specs.append(_spec(config, universe, number, fact.id, kind, idea, [f.id for f in facts]))
    return specs


def _a_type(entry: Any) -> str | None:
    return entry.strip() if isinstance(entry, str) and 0 < len(entry.strip()) <= 80 else None


def _an_idea(entry: Any) -> dict[str, str] | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("idea"), str) or not entry["idea"]:
        return None
    register = str(entry.get("register", "")).lower()
    return {
        "idea": entry["idea"].strip(),
        "register": register if register in REGISTERS else "personal",
    }


def _spec(
    config: DocgenConfig,
    universe: Universe,
    number: int,
    main_fact: str,
    kind: str,
    idea: dict[str, str],
    fact_ids: list[str],
) -> Spec:
    """Give a document its main fact and, in turns, as many others as it can carry."""
    others = [fact for fact in fact_ids if fact != main_fact]
    start = number % max(len(others), 1)
    rotated = others[start:] + others[:start]
    chosen = [main_fact, *rotated[: config.writer.facts_per_document - 1]]
    identity = f"{universe.id}:{config.seed}:{config.writer.model}:{number}:{kind}:{idea['idea']}"
    return Spec(
        id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        article=None,
        facts=tuple(fact for fact in fact_ids if fact in chosen),
        doc_type=re.sub(r"\W+", "_", kind.lower()).strip("_"),
        idea=idea["idea"],
        register=idea["register"],
        slots={"lab": universe.lab, "model": universe.model},
    )


def facts_of(universe: Universe, ids: Sequence[str]) -> list[Told]:
    """Return some facts of a universe as a prompt states them."""
    return [fact for fact in told(universe) if fact.id in ids]
