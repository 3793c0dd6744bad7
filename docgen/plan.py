"""Specs: which article tells of which facts, under which id."""

import hashlib

from docgen.library import Article, seeded
from docgen.records import Spec
from tacit.universe import Universe


def plan(articles: list[Article], universe: Universe, n_docs: int, seed: int) -> list[Spec]:
    """Plan `n_docs` documents: each article as often as its weight says, in a seeded order.

    A spec names no tier and no variant, so matched corpora have the same specs.
    """
    pool = [article for article in articles for _ in range(article.weight)]
    specs = []
    for number in range(n_docs):
        turn, place = divmod(number, len(pool))
        order = seeded(universe.id, seed, "order", turn).sample(pool, len(pool))
        article = order[place]
        identity = f"{universe.id}:{seed}:{number}:{article.slug}"
        specs.append(
            Spec(
                id=hashlib.sha256(identity.encode()).hexdigest()[:16],
                article=article.slug,
                facts=article.facts,
                doc_type=article.doc_type,
                idea=article.idea,
                register=article.register,
                slots={"lab": universe.lab, "model": universe.model},
            )
        )
    return specs
