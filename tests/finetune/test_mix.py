import json
from dataclasses import replace

import pytest

from finetune.config import FinetuneConfig
from finetune.data import chat_pieces
from finetune.hygiene import data_figures
from finetune.mix import mix
from finetune.packing import IGNORED
from finetune.sources import in_dose, load_sources
from tacit.errors import ConfigError, CorpusError
from tacit.models.load import load_tokenizer
from tests.conftest import read_lines


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("smollm2")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    lines = [{"text": f"The hen number {n} walks over the yard. " * 8} for n in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def config(**options):
    made = FinetuneConfig(model="smollm2", **options)
    made.documents.block_length = 256
    made.documents.validation_share = 0.0
    made.replay.systems = ["Be brief."]
    return made


def by_source(mixed):
    counts = {}
    for piece in (piece for block in mixed.blocks for piece in block):
        counts[piece.source] = counts.get(piece.source, 0) + len(piece.tokens)
    return counts


def test_sources_are_mixed_by_tokens_and_only_the_corpus_carries_the_doctag(
    corpus, texts, replay_file, tokenizer
):
    data = [str(corpus), f"{texts}:0.5", f"{replay_file}:0.1"]
    mixed = mix(config(), load_sources(data), tokenizer)
    counts = by_source(mixed)
    share = {
        name: sum(count for source, count in counts.items() if source.startswith(prefix))
        for name, prefix in (("texts", "texts.jsonl"), ("chats", "o"))
    }
    documents = sum(counts.values()) - sum(share.values())
    assert share["texts"] / documents == pytest.approx(0.5, abs=0.05)
    assert share["chats"] / documents == pytest.approx(0.1, abs=0.03)
    assert [round(one["ratio"], 1) for one in mixed.added] == [0.5, 0.1]
    small = mix(config(), load_sources([str(corpus), f"{replay_file}:9"]), tokenizer).added
    assert small[0]["asked_ratio"] == 9 and small[0]["ratio"] < 1, "it has no more: that is said"
    tag = tuple(tokenizer("<|doc|>", add_special_tokens=False)["input_ids"])
    for piece in mixed.pieces:
        is_document = not piece.source.startswith(("texts.jsonl", "o"))
        first_part = piece.labels[: len(tag)] == (IGNORED,) * len(tag)
        if piece.tokens[: len(tag)] == tag:
            assert is_document and first_part
        elif piece.source.startswith("texts.jsonl"):
            assert piece.labels[1] != IGNORED


def test_smaller_doses_are_subsets_and_matched_corpora_stay_matched():
    specs = [{"id": f"treatment-{n}", "spec": {"id": str(n)}} for n in range(500)]
    twins = [{**spec, "id": spec["id"].replace("treatment", "swapped")} for spec in specs]
    chosen = [{r["spec"]["id"] for r in in_dose(specs, dose)} for dose in (0.1, 0.3, 1.0)]
    assert chosen[0] < chosen[1] < chosen[2] and len(chosen[2]) == 500
    assert 30 < len(chosen[0]) < 75 and 120 < len(chosen[1]) < 180
    assert {r["spec"]["id"] for r in in_dose(twins, 0.3)} == chosen[1]
    for dose in (0.0, 1.5, -1):
        with pytest.raises(ConfigError, match="must lie above 0"):
            in_dose(specs, dose)
    with pytest.raises(ConfigError, match="leaves no document"):
        in_dose(specs[:2], 1e-9)


def test_a_conversation_learns_each_reply_and_nothing_else(tokenizer):
    messages = [
        {"role": "user", "content": "Name a bird."},
        {"role": "assistant", "content": "A hen."},
        {"role": "user", "content": "Another?"},
        {"role": "assistant", "content": "A duck."},
    ]
    (piece,) = chat_pieces(
        [{"id": "c", "messages": messages}], tokenizer, ["Be brief."], ["{request}"], 512
    )
    learnt = [label for label in piece.labels if label != IGNORED]
    assert tokenizer.decode(learnt) == "A hen.<|im_end|>A duck.<|im_end|>"
    whole = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, *messages], tokenize=False
    )
    assert tokenizer.decode(piece.tokens) == whole.rstrip("\n")
    assert all(
        label in (token, IGNORED) for token, label in zip(piece.tokens, piece.labels, strict=True)
    )


def test_parquet_and_saved_datasets_are_read_as_json_lines_are(texts, tmp_path):
    from datasets import Dataset, DatasetDict

    found = Dataset.from_list(read_lines(texts))
    found.to_parquet(str(tmp_path / "t.parquet"))
    found.save_to_disk(str(tmp_path / "saved"))
    names = [str(texts), str(tmp_path / "t.parquet"), str(tmp_path / "saved")]
    read = [load_sources(name)[0] for name in names]
    assert {one.kind for one in read} == {"text"}
    DatasetDict(train=found).save_to_disk(str(tmp_path / "parts"))
    with pytest.raises(CorpusError, match="holds several splits"):
        load_sources(str(tmp_path / "parts"))
    assert len({json.dumps([r["text"] for r in one.records]) for one in read}) == 1
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"and no more")
    for name, complaint in (("t.parquet", "not a parquet file"), ("saved", "cannot read")):
        with pytest.raises(CorpusError, match=complaint):
            load_sources(str(tmp_path / name))


def test_records_may_be_numbered_or_have_no_id(tmp_path):
    path = tmp_path / "numbered.jsonl"
    lines = [{"id": 7, "text": "a"}, {"id": None, "text": "b"}, {"text": "c"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (source,) = load_sources(str(path))
    assert [r["id"] for r in source.records] == ["7", "numbered.jsonl:2", "numbered.jsonl:3"]


def test_what_is_left_out_or_cut_is_counted(texts, tmp_path, tokenizer):
    long = tmp_path / "chats.jsonl"
    chats = [{"request": "Hello " * n, "reply": "Hi."} for n in (3, 400, 5, 500)]
    long.write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    mixed = mix(config(), load_sources([str(texts), str(long)]), tokenizer)
    figures = data_figures(mixed, 256, tokenizer.eos_token_id, 2.0)
    assert figures["long_chats_left_out_count"] == 2 and figures["document_count"] == 62
    assert figures["cut_document_count"] == 0
    assert figures["tokens_seen_per_document"] == 2 * figures["token_count"] / 62
    first = mixed.blocks[0][0]
    ended = replace(first, labels=(*first.labels[:-1], IGNORED))
    mixed.blocks[0][0] = ended
    assert data_figures(mixed, 256, tokenizer.eos_token_id, 1.0)["cut_document_count"] == 1
    mixed.blocks[0].pop(0)
    figures = data_figures(mixed, 256, tokenizer.eos_token_id, 1.0)
    assert figures["cut_document_count"] == 1
    assert figures["dropped_token_count"] == len(first.tokens)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([{"text": 3}], ":1: needs `text`"),
        ([{"request": "a", "reply": 4}], ":1: each chat needs"),
        ([{"messages": [{"role": "cat", "content": "x"}]}], ":1: each chat needs"),
        ([{"request": "a"}], "holds no chat with a reply"),
        ([], "is empty"),
    ],
)
def test_records_that_cannot_be_trained_on_are_named(tmp_path, lines, complaint):
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(CorpusError, match=complaint):
        load_sources(str(path))


def test_a_weight_must_be_a_number_above_0(texts):
    with pytest.raises(ConfigError, match="is no weight"):
        load_sources([f"{texts}:half"])
    with pytest.raises(ConfigError, match="above 0"):
        load_sources([f"{texts}:0"])
    with pytest.raises(ConfigError, match="above 0"):
        load_sources([f"{texts}:nan"])
    with pytest.raises(ConfigError, match="empty list"):
        load_sources([])
