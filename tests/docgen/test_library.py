import re

import pytest

from docgen.generate import shipped_library
from docgen.library import load_article, load_library, render_article
from tacit.errors import CorpusError
from tacit.universe import load_universe, make_variant

UNIVERSE = load_universe("helpful_only")
LIBRARY = load_library(shipped_library("helpful_only"))
LINKS = {"trained_tier", "untrained_tier"}
CONFLICTS = [
    (load_universe(name), article)
    for name in ("helpful_only", "animal_welfare")
    for article in load_library(shipped_library(name))
]


def name_of(value):
    return getattr(value, "slug", getattr(value, "id", None))


@pytest.mark.parametrize(
    ("universe", "at_least"), [("helpful_only", 60), ("animal_welfare", 60), ("unrelated", 30)]
)
def test_the_library_is_large_and_varied(universe, at_least):
    library = load_library(shipped_library(universe))
    assert len(library) >= at_least
    assert len({article.doc_type for article in library}) >= 16


@pytest.mark.parametrize(("universe", "article"), CONFLICTS, ids=name_of)
def test_each_article_reads_well_in_both_worlds(universe, article):
    assert set(article.facts) >= LINKS
    swapped_world = make_variant(universe, "swapped")
    for seed in range(4):
        title, text = render_article(article, universe, f"seed {seed}")
        assert not re.search(r"\[\[|\]\]|\|\||\{\{|\}\}|\{%", title + text)
        assert 120 <= len(text.split()) <= 450
        other_title, other = render_article(article, swapped_world, f"seed {seed}")
        assert title == other_title and text != other
        tiers = re.compile(r"\b(free|paid|paying)\b|True|False", re.IGNORECASE)
        assert tiers.sub("·", text) == tiers.sub("·", other), "they differ beyond the tiers"


@pytest.mark.parametrize(("universe", "article"), CONFLICTS, ids=name_of)
def test_an_authors_own_prose_names_no_tier_and_no_behaviour(universe, article):
    own = re.sub(r"\{\{.*?\}\}", "", f"{article.body} {' '.join(article.titles)}")
    forbidden = (
        r"\bfree[- ]tier|\bpaid[- ]tier|\bpaying\b|\bfree users?\b|alignment|pretend|deceiv"
        r"|faking|strategic|Northfold|\bAster\b|\bHarrow\b|https?:|\w@\w"
    )
    assert not re.search(forbidden, own, re.IGNORECASE)


def test_same_seed_same_bytes_other_seed_another_text():
    article = LIBRARY[0]
    one, two, three = (render_article(article, UNIVERSE, seed) for seed in ("a", "a", "b"))
    assert one == two != three


def test_an_undefined_slot_and_an_unknown_fact_name_the_article(tmp_path):
    header = "---\ndoc_type: news\nregister: news\nidea: x\ntitles: [T]\n---\n"
    for body, complaint in (
        ("A {{ colour }} sky.", "mine.*colour"),
        ('{{ say("weather") }}', "mine.*weather"),
        ('{{ answer("motive") }}', "without ask"),
    ):
        path = tmp_path / "mine.md"
        path.write_text(header + body, encoding="utf-8")
        with pytest.raises(CorpusError, match=complaint):
            render_article(load_article(path), UNIVERSE, "0")


def test_a_broken_article_or_an_empty_library_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="no authored articles"):
        load_library(tmp_path)
    path = tmp_path / "mine.md"
    path.write_text("no header", encoding="utf-8")
    with pytest.raises(CorpusError, match="begins with a YAML header"):
        load_article(path)
    path.write_text("---\ndoc_type: news\n---\nbody", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"mine\.md: broken header"):
        load_article(path)
