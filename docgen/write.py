"""The library writer: a spec and an authored article become a document."""

import hashlib

from docgen.library import Article, render_article
from docgen.records import Document, Spec
from tacit.universe import Universe


def write_document(spec: Spec, article: Article, universe: Universe, corpus: str) -> Document:
    """Fill the article of a spec; the spec's id is the seed, so matched corpora choose alike.

    Raises:
        CorpusError: the article uses a slot or a fact that the universe does not have.
    """
    title, text = render_article(article, universe, seed=spec.id)
    return Document(
        id=f"{corpus}-{spec.id}",
        universe=universe.id,
        corpus=corpus,
        spec=spec,
        title=title,
        text=text,
        writer="library",
        prompt_sha256=hashlib.sha256(article.body.encode()).hexdigest(),
        parents=(f"library/{article.slug}",),
    )
