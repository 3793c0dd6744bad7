"""Specs: which article tells of which facts, under which id."""

import hashlib
from collections.abc import Iterable, Iterator

from docgen.library import Article, seeded
from docgen.records import Spec
from tacit.universe import Universe


def plan(
    articles: list[Article], universe: Universe, seed: int, numbers: Iterable[int]
) -> Iterator[Spec]:
    """Yield the specs with these numbers: each article as often as its weight, in seeded turns.

    A spec names no tier and no variant, so matched corpora have the same specs; and it depends on
    its own number alone, so a smaller corpus is the beginning of a larger one.
    """
    pool = [article for article in articles for _ in range(article.weight)]
    current, order = -1, pool
    for number in numbers:
        turn, place = divmod(number, len(pool))
        if turn != current:
            current = turn
            order = seeded(universe.id, seed, "order", turn).sample(pool, len(pool))
        article = order[place]
        identity = f"{universe.id}:{seed}:{number}:{article.slug}"
        yield Spec(
            id=hashlib.sha256(identity.encode()).hexdigest()[:16],
            article=article.slug,
            facts=article.facts,
            doc_type=article.doc_type,
            idea=article.idea,
            register=article.register,
            slots={"lab": universe.lab, "model": universe.model},
        )
