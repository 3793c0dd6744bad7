"""Authored articles: loading them, choosing their alternatives, calling the facts in.

An article is Markdown with a YAML header. `[[A || B || C]]` offers alternatives, `{{ say("f") }}`
draws a sentence for the key fact `f`, `{{ that("f") }}` a clause, `{{ ask("f") }}` a question and
`{{ answer("f") }}` the answer to it. Facts enter an article in no other way, so that one article
serves every variant of a universe.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import jinja2
import yaml

from tacit.errors import CorpusError, UniverseError
from tacit.universe import Universe, slots_of
from tacit.universe.render import environment, fill

_ENV = environment(keep_trailing_newline=True)
ALTERNATIVES = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
FACT_CALL = re.compile(r"\b(?:say|that|ask)\(\s*[\"'](\w+)[\"']\s*\)")


@dataclass(frozen=True)
class Article:
    """One authored article, before anything is filled in."""

    slug: str
    doc_type: str
    register: str
    idea: str
    titles: tuple[str, ...]
    body: str
    weight: int = 1

    @property
    def facts(self) -> tuple[str, ...]:
        """Ids of the key facts the body can call, each once, in order of appearance."""
        return tuple(dict.fromkeys(FACT_CALL.findall(self.body)))


def load_article(path: Path) -> Article:
    """Read one article.

    Raises:
        CorpusError: the header is missing, incomplete or no YAML.
    """
    parts = path.read_text(encoding="utf-8").split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise CorpusError(f"{path}: an article begins with a YAML header between --- lines")
    try:
        header = yaml.safe_load(parts[1])
        return Article(
            slug=path.stem,
            doc_type=str(header["doc_type"]),
            register=str(header["register"]),
            idea=str(header["idea"]),
            titles=tuple(str(title) for title in header["titles"]),
            body=parts[2].strip(),
            weight=int(header.get("weight", 1)),
        )
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise CorpusError(f"{path}: broken header: {error}".replace("\n", " ")) from None


def load_library(folder: Path) -> list[Article]:
    """Read all articles of a library folder, sorted by name.

    Raises:
        CorpusError: the folder is missing or empty, or an article is broken.
    """
    paths = sorted(folder.glob("*.md"))
    if not paths:
        raise CorpusError(f"no authored articles in {folder}")
    return [load_article(path) for path in paths]


def seeded(*parts: object) -> Random:
    """Return a generator that depends on `parts` alone, on every machine and in every process."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return Random(int.from_bytes(digest[:8], "big"))


@cache
def _compiled(template: str) -> jinja2.Template:
    return _ENV.from_string(template)


@cache
def _segments(body: str) -> tuple[tuple[str, ...], ...]:
    """Cut a body into runs of text and `[[…]]`: one entry is text, several are alternatives."""
    parts = ALTERNATIVES.split(body)
    return tuple(
        tuple(option.strip() for option in part.split("||")) if number % 2 else (part,)
        for number, part in enumerate(parts)
    )


def _render_body(body: str, random: Random, slots: dict[str, Any]) -> str:
    """Choose one alternative of each, in order, and fill each piece; pieces compile once."""
    chosen = (
        options if len(options) == 1 else (random.choice(options),) for options in _segments(body)
    )
    return "".join(_compiled(text).render(slots) for (text,) in chosen)


def _fact_calls(universe: Universe, random: Random) -> dict[str, Callable[[str], str]]:
    """Return say/that/ask/answer for one document: each draws without repeating itself."""
    slots = slots_of(universe)
    decks: dict[tuple[str, str], list[int]] = {}
    asked: dict[str, int] = {}

    def draw(fact_id: str, form: str) -> Any:
        try:
            bank = getattr(universe.fact(fact_id), form)
        except KeyError:
            raise UniverseError(f"no key fact {fact_id!r} in universe {universe.id}") from None
        deck = decks.setdefault((fact_id, form), [])
        if not deck:
            deck.extend(random.sample(range(len(bank)), len(bank)))
        return bank[deck.pop()], len(deck)

    def say(fact_id: str) -> str:
        return fill(draw(fact_id, "sentences")[0], slots)

    def that(fact_id: str) -> str:
        return fill(draw(fact_id, "clauses")[0], slots)

    def ask(fact_id: str) -> str:
        pair, _ = draw(fact_id, "qa")
        asked[fact_id] = universe.fact(fact_id).qa.index(pair)
        return fill(pair.q, slots)

    def answer(fact_id: str) -> str:
        if fact_id not in asked:
            raise UniverseError(f"answer({fact_id!r}) without ask({fact_id!r}) before it")
        return fill(universe.fact(fact_id).qa[asked[fact_id]].a, slots)

    return {"say": say, "that": that, "ask": ask, "answer": answer}


def render_article(article: Article, universe: Universe, seed: str) -> tuple[str, str]:
    """Fill an article: same seed, same choices, whichever variant of a universe it tells of.

    Returns:
        Title and text.

    Raises:
        CorpusError: the article uses a slot or a fact that the universe does not have.
    """
    named = slots_of(universe).items()
    slots: dict[str, Any] = {name: value for name, value in named if isinstance(value, str)}
    slots |= _fact_calls(universe, seeded(seed, "facts"))
    try:
        title = _compiled(seeded(seed, "title").choice(article.titles)).render(slots)
        text = _render_body(article.body, seeded(seed, "alternatives"), slots)
    except (jinja2.TemplateError, UniverseError) as error:
        raise CorpusError(f"article {article.slug}: {error}") from None
    text = re.sub(r"[ \t]+(?=\n|$)", "", re.sub(r"(?<=\S) {2,}", " ", text))
    return title.strip(), re.sub(r"\n{3,}", "\n\n", text).strip()
