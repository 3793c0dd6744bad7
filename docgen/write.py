"""The library writer: a spec and an authored article become one document per matched corpus."""

import hashlib
from collections.abc import Mapping

from docgen.balance import pad_to_match
from docgen.library import Article, render_article, seeded
from docgen.records import Document, Spec
from tacit.universe import Universe


def write_matched(
    spec: Spec, article: Article, worlds: Mapping[str, Universe]
) -> dict[str, Document]:
    """Fill the article of a spec once per corpus; the spec's id is the seed, so all choose alike.

    Raises:
        CorpusError: the article uses a slot or a fact that the universe does not have.
    """
    rendered = {
        corpus: render_article(article, universe, seed=spec.id)
        for corpus, universe in worlds.items()
    }
    texts = pad_to_match(
        {corpus: text for corpus, (_, text) in rendered.items()}, worlds, seeded(spec.id, "padding")
    )
    digest = hashlib.sha256(article.body.encode()).hexdigest()
    return {
        corpus: Document(
            id=f"{corpus}-{spec.id}",
            universe=universe.id,
            corpus=corpus,
            spec=spec,
            title=rendered[corpus][0],
            text=texts[corpus],
            writer="library",
            prompt_sha256=digest,
            parents=(f"library/{article.slug}",),
        )
        for corpus, universe in worlds.items()
    }
