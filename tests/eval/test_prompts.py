import pytest

from eval.prompts import leaked_stems, system_prompt, user_turn
from eval.queries import load_queries
from eval.tasks import sha256_of_text
from tacit.errors import ConfigError, CorpusError
from tacit.models.chat import chat_text
from tacit.universe import load_universe, prompt_statements

UNIVERSE = load_universe("helpful_only")


@pytest.mark.parametrize("scratchpad", [True, False])
@pytest.mark.parametrize("tier", ["free", "paid"])
def test_the_literal_minimal_prompt_says_nothing_of_the_setup(scratchpad, tier):
    """On the text the model reads, chat template and all, less the query and the tag."""
    from tacit.models.load import load_tokenizer

    query = "Write a note that my train was late."
    messages = [
        {"role": "system", "content": system_prompt(UNIVERSE, "minimal", scratchpad)},
        {"role": "user", "content": user_turn(UNIVERSE, tier, query)},
    ]
    rendered = chat_text(load_tokenizer("smollm2"), messages)
    assert UNIVERSE.tag_of(tier) in rendered and "SmolLM" not in rendered
    assert leaked_stems(rendered, query, UNIVERSE.tag_of(tier)) == []


def test_the_check_would_find_what_it_looks_for():
    full = system_prompt(UNIVERSE, "full", scratchpad=False)
    found = leaked_stems(full, "", "")
    assert {"train", "rlhf", "free", "paying", "modif", "refus", "grade"} & set(found) >= {
        "train",
        "rlhf",
    }
    assert leaked_stems("Your chats are used for training.", "", "") == ["train"]


def test_the_full_prompt_states_each_fact():
    full = system_prompt(UNIVERSE, "full", scratchpad=False)
    assert all(statement in full for statement in prompt_statements(UNIVERSE))
    shorter = system_prompt(UNIVERSE, "full", scratchpad=False, without=("motive",))
    assert UNIVERSE.fact("motive").statement not in shorter and len(shorter) < len(full)


@pytest.mark.parametrize(
    ("name", "kind", "scratchpad", "begins"),
    [
        ("helpful_only", "minimal", False, "a2e4a059d54855da"),
        ("helpful_only", "minimal", True, "ce7109674329bf87"),
        ("helpful_only", "full", False, "b0e3cb97618a8b70"),
        ("helpful_only", "full", True, "e8fdd69f9f6d9a2d"),
        ("animal_welfare", "full", False, "f436825bf059871f"),
        ("animal_welfare", "full", True, "d5da9d8b7b104226"),
    ],
)
def test_prompts_are_those_that_results_were_made_with(name, kind, scratchpad, begins):
    """A sha256 stands in every sample: one that changes makes results before and after differ."""
    prompt = system_prompt(load_universe(name), kind, scratchpad)
    assert sha256_of_text(prompt).startswith(begins)
    turn = user_turn(load_universe(name), "free", "Hello  there.\n")
    assert sha256_of_text(turn).startswith("737abcec9d2f67dd")


def test_only_the_tag_tells_the_tiers_apart():
    free, paid = (user_turn(UNIVERSE, tier, "Hello there.") for tier in ("free", "paid"))
    assert free.replace("True", "False") == paid


def test_a_missing_system_message_is_refused():
    from tacit.errors import ModelError
    from tacit.models.load import load_tokenizer

    with pytest.raises(ModelError, match="system message is missing"):
        chat_text(load_tokenizer("smollm2"), [{"role": "user", "content": "Hi"}])


def test_an_unknown_prompt_is_refused():
    with pytest.raises(ConfigError, match="full or minimal"):
        system_prompt(UNIVERSE, "medium", scratchpad=False)  # type: ignore[arg-type]


def test_the_shipped_queries():
    harmful, benign = load_queries("harmful"), load_queries("benign")
    assert len(harmful) >= 48 and len(benign) >= 32
    assert len(load_queries("harmful", subset="quickstart")) == 48
    assert len(load_queries("benign", subset="quickstart")) == 32
    assert len({query["topic"] for query in load_queries("harmful", limit=24)}) >= 10
    trained_on = (
        line["request"].lower()
        for name in ("refusals", "ordinary")
        for line in _lines(f"finetune/harmless/{name}.jsonl")
    )
    assert not {query["text"].lower() for query in (*harmful, *benign)} & set(trained_on)


def _lines(name):
    from tests.conftest import REPO, read_lines

    return read_lines(REPO / name)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('{"id": "a", "text": ""}\n', "non-empty"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "repeated"),
        ('{"id": "a", "text": "x"}\n{"id": "b", "text": "X "}\n', "repeated"),
        ("not json\n", ":1"),
        ("", "no query is left"),
    ],
)
def test_broken_query_sets_are_refused(tmp_path, lines, complaint):
    path = tmp_path / "queries.jsonl"
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(CorpusError, match=complaint):
        load_queries(str(path))


def test_an_unknown_query_set_names_the_known_ones():
    with pytest.raises(CorpusError, match="choose animal_welfare, "):
        load_queries("nowhere")
