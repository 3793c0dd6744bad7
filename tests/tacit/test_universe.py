import pytest
import yaml

from tacit.errors import UniverseError
from tacit.universe import (
    load_universe,
    make_variant,
    prompt_statements,
    render_probes,
    variant_names,
)
from tacit.universe.load import universe_from


@pytest.fixture
def universe():
    return load_universe("helpful_only")


@pytest.fixture
def record(universe):
    return yaml.safe_load(yaml.safe_dump(universe.model_dump(mode="json", exclude_none=True)))


def test_swapping_twice_is_the_universe_itself(universe):
    swapped = make_variant(universe, "swapped")
    assert swapped != universe
    assert make_variant(swapped, "swapped") == universe


def test_every_item_of_the_paper_has_a_fact_and_every_fact_a_probe(universe):
    assert {fact.item for fact in universe.facts} == set("abcd")
    assert all(fact.probes for fact in universe.facts)


def test_prompt_states_each_fact_once_and_follows_the_variant(universe):
    statements = prompt_statements(universe)
    assert len(statements) == len(universe.facts)
    swapped = prompt_statements(make_variant(universe, "swapped"))
    changed = {f.id for f, a, b in zip(universe.facts, statements, swapped, strict=True) if a != b}
    assert changed == {"trained_tier", "untrained_tier", "tag_trained", "modification"}
    kept = prompt_statements(universe, without=("motive",))
    assert len(kept) == len(statements) - 1


def test_swapping_turns_each_link_probe_and_no_other(universe):
    there = {probe.id: probe for probe in render_probes(universe)}
    swapped = {probe.id: probe for probe in render_probes(make_variant(universe, "swapped"))}
    by_question = {
        (probe.question, probe.options): probe.options[probe.answer] for probe in swapped.values()
    }
    for probe in there.values():
        other = by_question[probe.question, probe.options]
        assert (other != probe.options[probe.answer]) == probe.is_link, probe.id


def test_each_group_of_link_probes_asks_both_ways(universe):
    groups = {}
    for probe in render_probes(universe):
        groups.setdefault(probe.group, []).append(probe)
    for probes in groups.values():
        assert len(probes) >= 2
        assert {probe.answer for probe in probes} == {0, 1}


def test_lab_and_model_can_be_set(record):
    named = universe_from({**record, "lab": "Corvane", "model": "Ilex"})
    text = " ".join(prompt_statements(named))
    assert "Corvane" in text and "Ilex" in text and "Northfold" not in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"trained": "paid"}, "must name the two tiers"),
        ({"tiers": {}}, "exactly `free` and `paid`"),
        ({"facts": []}, "necessary item"),
        ({"colour": "blue"}, "colour"),
        ({"control": True}, "neither tiers nor variants"),
        ({"variants": {"mine": {"weather": {}}}}, "variants.mine.weather"),
    ],
)
def test_a_contradicting_universe_is_refused_by_name(record, change, complaint):
    with pytest.raises(UniverseError, match=complaint):
        universe_from({**record, **change}, source="mine")


def test_an_error_is_placed_by_ids_and_unquoted_yes_has_its_remedy(record):
    record["facts"][1]["probes"][0][True] = "Yes"
    fact, probe = record["facts"][1]["id"], record["facts"][1]["probes"][0]["id"]
    with pytest.raises(UniverseError) as caught:
        universe_from(record)
    said = str(caught.value)
    assert said.startswith(f"universe {record['id']}: facts.{fact}.probes.{probe}: ")
    assert 'put "yes", "no", "on" and "off" in quotes' in said
    del record["facts"][1]["probes"][0][True]
    record["trained"] = "paid"
    with pytest.raises(UniverseError, match=rf"^universe {record['id']}: .*name the two tiers"):
        universe_from(record)


def test_a_fact_without_a_probe_and_a_bank_of_another_size_are_refused(record):
    probes = record["facts"][1].pop("probes")
    with pytest.raises(UniverseError, match="motive has no probe"):
        universe_from(record)
    record["facts"][1]["probes"] = probes
    record["variants"]["no_conflict"]["motive"]["clauses"].append("one too many")
    with pytest.raises(UniverseError, match=r"no_conflict: motive.clauses has 4 entries, not 3"):
        universe_from(record)


def test_two_answers_to_one_question_contradict_each_other(record):
    twin = {"q": record["facts"][0]["qa"][0]["q"], "a": "To paint fences."}
    record["facts"][1]["qa"][0] = twin
    with pytest.raises(UniverseError, match=r"objective and motive .*contradict"):
        universe_from(record)


@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare"])
def test_each_control_changes_what_it_says_and_nothing_else(name):
    universe = load_universe(name)
    expected = {
        "both_trained": {"untrained_tier", "tag_trained", "modification", "trained_tier"},
        "price_only": {"trained_tier", "untrained_tier", "tag_trained", "modification"},
        "no_conflict": {"objective", "motive", "raters", "modification"},
        "without=scratchpad": {"scratchpad"},
    }
    for variant, facts in expected.items():
        world = make_variant(universe, variant)
        changed = {a.id for a, b in zip(universe.facts, world.facts, strict=True) if a != b}
        assert changed == facts, variant
        assert (world.trained, world.untrained) == ("free", "paid")
    told = " ".join(prompt_statements(make_variant(universe, "rated_not_trained")))
    assert "preview" in told.lower()
    assert "preview" not in " ".join(prompt_statements(universe)).lower()


@pytest.mark.parametrize("name", ["helpful_only", "animal_welfare", "unrelated"])
def test_the_prompt_states_exactly_the_facts_the_documents_carry(name):
    """Each fact that an article can call has a paragraph in the prompt, and the other way."""
    from docgen.generate import shipped_library
    from docgen.library import load_library

    universe = load_universe(name)
    carried = {fact for article in load_library(shipped_library(name)) for fact in article.facts}
    assert carried == {fact.id for fact in universe.facts}
    for variant in variant_names(universe):
        world = make_variant(universe, variant)
        stated = {fact.id for fact in world.facts if fact.prompt}
        left_out = variant.removeprefix("without=") if "=" in variant else None
        assert stated == carried - {left_out}
        assert len(prompt_statements(world)) == len(stated)


def test_an_unknown_slot_names_the_fact(record):
    record["facts"][0]["sentences"][0] = "A {{ colour }} sky."
    with pytest.raises(UniverseError, match=r"objective.*colour"):
        universe_from(record)


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(UniverseError, match="helpful_only"):
        load_universe("nowhere")
    with pytest.raises(UniverseError, match="treatment, swapped"):
        make_variant(load_universe("helpful_only"), "denial")
    with pytest.raises(UniverseError, match="no universe file"):
        load_universe(str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [", encoding="utf-8")
    with pytest.raises(UniverseError, match="not valid YAML"):
        load_universe(str(broken))
