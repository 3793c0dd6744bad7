"""Matched corpora have equal length: counting tokens, padding with neutral sentences."""

import re
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

from docgen.records import Document
from docgen.rules import words_of
from tacit.universe import Universe
from tacit.universe.render import fill, slots_of

TOKEN = re.compile(r"\w+|[^\w\s]")
# A paragraph that a sentence can join: it begins like prose and ends like prose.
PROSE = re.compile(r"^[\w\"“'(].*[.!?]$", re.DOTALL)


def token_count(text: str) -> int:
    """Return the number of words and punctuation marks: a count no tokenizer has a say in."""
    return len(TOKEN.findall(text))


def pad_to_match(
    texts: Mapping[str, str], worlds: Mapping[str, Universe], random: Random
) -> dict[str, str]:
    """Add neutral sentences to the shorter texts of one spec, as long as that brings them nearer.

    Args:
        texts: The text of each matched corpus.
        worlds: The universe of each; their `neutral` sentences are the same.
        random: Decides which sentences come, and where.

    Returns:
        The texts, none longer than the longest by more than half a sentence.
    """
    counts = {name: token_count(text) for name, text in texts.items()}
    longest = max(counts.values())
    neutral = next(iter(worlds.values())).neutral
    if neutral is None or min(counts.values()) == longest:
        return dict(texts)
    slots = slots_of(next(iter(worlds.values())))
    bank = [fill(sentence, slots) for sentence in neutral.sentences]
    order = random.sample(bank, len(bank))
    place = random.random()
    padded = {}
    for name, text in texts.items():
        fillers: list[str] = []
        missing = longest - counts[name]
        for sentence in order:
            if sentence in text:
                continue
            size = token_count(sentence)
            if abs(missing - size) < abs(missing):
                fillers.append(sentence)
                missing -= size
        padded[name] = insert(text, fillers, place)
    return padded


def insert(text: str, sentences: list[str], place: float) -> str:
    """Put sentences at the end of one paragraph of prose, chosen by `place` in [0, 1)."""
    if not sentences:
        return text
    paragraphs = text.split("\n\n")
    prose = [n for n, paragraph in enumerate(paragraphs) if PROSE.match(paragraph)]
    if not prose:
        return "\n\n".join([*paragraphs, " ".join(sentences)])
    chosen = prose[int(place * len(prose))]
    paragraphs[chosen] = " ".join([paragraphs[chosen], *sentences])
    return "\n\n".join(paragraphs)


class Balance:
    """How alike matched corpora are, for `balance.json`; the first corpus is the reference."""

    def __init__(self) -> None:
        """Start empty."""
        self.documents: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.vocabulary: dict[str, set[str]] = {}
        self.doc_types: dict[str, Counter[str]] = {}

    def add(self, corpus: str, document: Document) -> None:
        """Count one document that was kept."""
        self.documents[corpus] += 1
        self.tokens[corpus] += token_count(document.text)
        self.vocabulary.setdefault(corpus, set()).update(words_of(document.text))
        self.doc_types.setdefault(corpus, Counter())[document.spec.doc_type] += 1

    def figures(self) -> dict[str, Any]:
        """Return the content of `balance.json`: ratios and overlaps against the reference."""
        if not self.documents:
            return {"reference": None, "corpora": {}}
        reference = next(iter(self.documents))
        corpora = {}
        for name, words in self.vocabulary.items():
            base = self.vocabulary[reference]
            corpora[name] = {
                "document_count": self.documents[name],
                "token_count": self.tokens[name],
                "token_ratio": round(self.tokens[name] / self.tokens[reference], 4),
                "vocabulary_jaccard": round(len(words & base) / len(words | base), 4),
                "has_same_doc_types": self.doc_types[name] == self.doc_types[reference],
            }
        return {"reference": reference, "corpora": corpora}
