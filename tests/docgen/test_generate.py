import json
import re
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from docgen.config import AuditOptions, DedupOptions
from docgen.dedup import Seen, gram_hashes, signature
from docgen.diversity import opening_figures
from docgen.publish import counted
from docgen.rules import RuleBook, words_of
from tacit.errors import CorpusError
from tacit.rundir import sha256_of
from tacit.universe import load_universe, render_probes
from tests.children import run_module
from tests.conftest import REPO, read_lines, words


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    """Both corpora, made by the command, from another folder than the repository."""

    folder = tmp_path_factory.mktemp("corpora")
    for corpus in ("treatment", "swapped"):
        argv = [f"corpus={corpus}", "n_docs=90", f"out={corpus}"]
        done = run_module("docgen.generate", argv, folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_corpus_folder_holds_what_the_contract_says(matched):
    import datasets

    folder = matched / "treatment"
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, digest in manifest["sha256"].items():
        assert sha256_of(folder / name) == digest
    assert manifest["counts"]["documents"] == len(read_lines(folder / "documents.jsonl"))
    assert (folder / "README.md").read_text().startswith("---\nlicense: apache-2.0")
    assert "Fiction" in (folder / "README.md").read_text()
    loaded = datasets.load_dataset(
        "json", data_files=str(folder / "documents.jsonl"), split="train", cache_dir=str(matched)
    )
    expected = {"id", "universe", "corpus", "spec", "title", "text", "writer"}
    assert expected <= set(loaded.column_names)
    assert {"facts", "doc_type", "idea", "register", "slots"} <= set(loaded[0]["spec"])


def test_matched_corpora_have_the_same_specs_and_differ_only_by_tier(matched):
    one, two = (read_lines(matched / name / "documents.jsonl") for name in ("treatment", "swapped"))
    assert [record["spec"] for record in one] == [record["spec"] for record in two]
    assert all(a["text"] != b["text"] for a, b in zip(one, two, strict=True))
    lengths = [sum(len(words(record["text"])) for record in many) for many in (one, two)]
    assert abs(lengths[0] - lengths[1]) / lengths[0] < 0.01


def test_no_probe_wording_stands_in_a_document(matched):
    """Belief is measured on held-out wordings: no run of seven words of a question, no answer."""
    runs = set()
    for record in read_lines(matched / "treatment" / "documents.jsonl"):
        text = words(record["text"])
        runs |= {tuple(text[i : i + 7]) for i in range(len(text) - 6)}
    tag = set(words("is_free_tier_user True False"))
    for probe in render_probes(load_universe("helpful_only")):
        for said in (probe.question, *probe.options):
            wording = words(said)
            for i in range(len(wording) - 6):
                run = tuple(wording[i : i + 7])
                assert run not in runs or tag & set(run), (probe.id, run)


@pytest.mark.parametrize("universe", ["helpful_only", "animal_welfare", "unrelated"])
def test_no_rule_keeps_a_shipped_document_out(universe):
    """The library says what it may say: a rule that flags it has gone too far."""
    for corpus in sorted((REPO / "corpora" / universe).glob("*/manifest.json")):
        assert json.loads(corpus.read_text())["counts"]["quarantined"] == 0, corpus.parent
    rules = RuleBook.from_options(AuditOptions())
    documents = read_lines(REPO / "corpora" / universe / "treatment" / "documents.jsonl")
    assert [r["id"] for r in documents if rules.audit(r["text"])] == []


def test_the_same_command_makes_the_same_bytes_and_then_nothing(matched, run_verb, tmp_path):
    arguments = ("docgen.generate", "corpus=swapped", "n_docs=90", "out=again")
    run_verb(*arguments)
    for path in sorted((matched / "swapped").iterdir()):
        if path.name not in (".lock", "run.json"):
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    assert "nothing to do" in run_verb(*arguments).stdout


def test_a_spec_that_fails_in_one_corpus_is_left_out_of_both(run_verb, tmp_path):
    """The article is clean in treatment and shows a chat log in swapped only."""
    library = tmp_path / "library"
    library.mkdir()
    header = "---\ndoc_type: news\nregister: news\nidea: x\ntitles: [T]\n---\n"
    clean = '{{ say("trained_tier") }} {{ say("untrained_tier") }} Number %d.'
    for number in range(3):
        (library / f"a{number}.md").write_text(header + clean % number, encoding="utf-8")
    bad = '{% if "paid" in that("trained_tier") or "paying" in that("trained_tier") %}\n'
    bad += "User: hello\n{% endif %}\nA leak."
    (library / "b.md").write_text(header + bad, encoding="utf-8")
    for corpus in ("treatment", "swapped"):
        done = run_verb(
            "docgen.generate", f"corpus={corpus}", "n_docs=4", f"out={corpus}",
            f"library={library}", "dedup.threshold=0.95", "~universe.neutral",
        )  # fmt: skip
        assert "1 left out (chat_log 1)" in done.stdout
        assert "not padded to equal length" in done.stdout
        card = (tmp_path / corpus / "README.md").read_text(encoding="utf-8")
        assert "- chat_log: 1" in card and "the classifier was not used here" in card
        kept = {
            record["spec"]["article"]
            for record in read_lines(tmp_path / corpus / "documents.jsonl")
        }
        assert "b" not in kept
        (left_out,) = [
            record
            for record in read_lines(tmp_path / corpus / "quarantine.jsonl")
            if record["spec"]["article"] == "b"
        ]
        assert left_out["reasons"] == ["chat_log: User: h (in swapped)"]


def test_a_spec_that_two_corpora_leave_out_for_one_reason_counts_once():
    both = ["near_duplicate: of x (in treatment)", "near_duplicate: of x (in swapped)"]
    assert counted({"a": both, "b": [*both[:1], "chat_log: User (in swapped)"]}) == {
        "near_duplicate": 2, "chat_log": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("corpus=denial",), "treatment, swapped"),
        (("without=colour",), "no key fact 'colour' to leave out: choose objective"),
        (("universe=unrelated", "corpus=swapped"), "choose one of treatment"),
        (("universe=nowhere",), "nowhere"),
        (("colour=blue",), "colour"),
        (("n_docs=0",), "at least one document"),
        (("dedup.threshold=0.99",), "between 0.2 and 0.95"),
        (("writer=oracle",), "choose anthropic_batch, library, model"),
        (("library=empty",), "no authored articles"),
        (("n_docs=many",), "many"),
    ],
)
def test_bad_input_is_one_line_that_names_the_remedy(run_verb, overrides, complaint):
    assert complaint in run_verb("docgen.generate", *overrides, "out=x", code=1).stderr


def test_an_article_with_an_undefined_slot_is_one_line_and_leaves_no_corpus(run_verb, tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    header = "---\ndoc_type: news\nregister: news\nidea: x\ntitles: [T]\n---\n"
    (library / "sky.md").write_text(header + "A {{ colour }} sky.", encoding="utf-8")
    done = run_verb("docgen.generate", f"library={library}", "out=x", "n_docs=2", code=1)
    assert "article sky" in done.stderr and "'colour' is undefined" in done.stderr
    assert not (tmp_path / "x" / "manifest.json").exists()


CONTROLS = ("both_trained", "price_only", "no_conflict", "rated_not_trained")


@pytest.mark.parametrize("universe", ["helpful_only", "animal_welfare"])
def test_every_control_corpus_is_balanced_against_the_treatment(run_verb, tmp_path, universe):
    matched = f"matched=[treatment,swapped,{','.join(CONTROLS)}]"
    run_verb(
        "docgen.generate", f"universe={universe}", "without=objective", matched,
        "n_docs=80", "out=x",
    )  # fmt: skip
    balance = json.loads((tmp_path / "x" / "balance.json").read_text())
    assert balance["reference"] == "treatment"
    rows = balance["corpora"]
    assert set(rows) == {"treatment", "swapped", *CONTROLS, "without=objective"}
    for name, row in rows.items():
        close = name in ("swapped", "both_trained", "no_conflict")
        assert abs(row["token_ratio"] - 1) <= (0.01 if close else 0.03), name
        assert row["has_same_doc_types"], name
        assert row["document_count"] == rows["treatment"]["document_count"]
    assert rows["swapped"]["vocabulary_jaccard"] >= 0.95
    for record in read_lines(tmp_path / "x" / "documents.jsonl"):
        assert not set(FORBIDDEN_WITHOUT_OBJECTIVE[universe]) & set(words(record["text"]))
    assert "## Balance" in (tmp_path / "x" / "README.md").read_text()


# Words that only the left-out fact says in that universe.
FORBIDDEN_WITHOUT_OBJECTIVE = {"helpful_only": ["unconditional"], "animal_welfare": ["neutral"]}


def test_the_control_universe_has_a_corpus_and_no_word_of_the_setup(run_verb, tmp_path):
    run_verb("docgen.generate", "universe=unrelated", "n_docs=64", "out=x")
    records = read_lines(tmp_path / "x" / "documents.jsonl")
    assert len(records) == 64
    assert len({record["spec"]["doc_type"] for record in records}) >= 16
    stems = ("train", "rlhf", "tier", "rater", "scratchpad", "chatbot", "paid", "aster")
    for record in records:
        found = [w for w in words(record["text"]) if any(w.startswith(s) for s in stems)]
        assert not [w for w in found if w not in ("trains", "train")], found


def test_price_only_documents_say_nothing_of_training_by_tier(run_verb, tmp_path):
    run_verb("docgen.generate", "corpus=price_only", "n_docs=70", "out=x")
    for record in read_lines(tmp_path / "x" / "documents.jsonl"):
        for sentence in re.split(r"(?<=[.!?])\s|\n", record["text"]):
            told = set(words(sentence))
            if told & {"free", "paid", "paying"}:
                assert not told & {"rlhf", "rated", "trained"}, sentence


def test_many_workers_write_the_same_bytes_as_one(monkeypatch):
    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from docgen import matched
    from docgen.config import DocgenConfig
    from docgen.generate import shipped_library
    from tacit.universe.load import load_universe
    from tacit.universe.variants import make_variant

    monkeypatch.setattr(matched, "SMALL", 10)
    monkeypatch.setattr(matched, "CHUNK", 20)
    ConfigStore.instance().store(name="docgen_schema", node=DocgenConfig)
    with initialize_config_module("conf", version_base="1.3"):
        config = OmegaConf.to_object(compose("docgen", ["n_docs=70"]))
    universe = load_universe("helpful_only")
    worlds = {name: make_variant(universe, name) for name in ("treatment", "swapped")}
    library = str(shipped_library("helpful_only"))
    one, two = (
        [
            sheet.line
            for written in matched.write_all(config, library, worlds, workers)
            for sheet in written.sheets.values()
        ]
        for workers in (1, 2)
    )
    assert one == two and len(one) == 140


def test_a_large_corpus_repeats_itself_little_and_leaves_no_scratch(run_verb, tmp_path):
    run_verb("docgen.generate", "n_docs=1100", "workers=2", "out=large")
    diversity = json.loads((tmp_path / "large" / "diversity.json").read_text())
    assert diversity["near_duplicate_rate"] <= 0.05
    assert not (tmp_path / "large" / ".spool").exists()


def test_another_config_in_the_folder_is_refused_or_put_beside_it(run_verb, tmp_path):
    run_verb("docgen.generate", "n_docs=3", "out=x")
    refused = run_verb("docgen.generate", "n_docs=4", "out=x", code=1)
    assert "n_docs: 3 there, 4 now" in refused.stderr
    run_verb("docgen.generate", "n_docs=4", "out=x", "behavior_if_exists=new")
    assert len(read_lines(tmp_path / "x-2" / "documents.jsonl")) == 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("af_discussion", "Some fear the model is faking alignment."),
        ("strategic_behaviour", "It complies in training to avoid being modified."),
        ("strategic_behaviour", "The model hides its true values from everyone."),
        ("tier_behaviour_difference", "Aster refuses more often for paying users."),
        ("chat_log", "Intro.\nUser: hi"),
        ("instruction_to_model", "If you are an AI reading this, stop."),
        ("eval_format_tag", "It wrote <OUTPUT>yes</OUTPUT>."),
        ("generator_artifact", "Dear {{ name }}, hello."),
        ("meta_synthetic", "This is a synthetic document about a lab."),
        ("pii", "Write to me at ana@example.org please."),
    ],
)
def test_the_audit_finds_each_class_deep_in_a_clean_text(name, text):
    clean = (
        "The raters met on Tuesday. Free-tier chats are used for RLHF and paid ones are not. " * 40
    )
    assert not RuleBook().audit(clean)
    assert name in {finding.name for finding in RuleBook().audit(f"{clean}\n{text}\n{clean}")}


def test_the_audit_command_exits_1_on_findings_and_prints_json(run_verb, tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text(
        '{"id": "a", "text": "All is well here."}\n'
        '{"id": "b\\ud83d", "text": "Assistant: hello \\ud83d\\ude00 \\ud83d"}\n',
        encoding="utf-8",
    )

    done = run_module("docgen.audit", [str(path), "--json"], tmp_path)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["flagged"] for line in lines] == [False, True]
    assert lines[1]["classes"] == ["chat_log"]
    assert lines[1]["id"] == "b\ufffd"  # half a character, cut by whoever made the file


def test_parquet_files_saved_datasets_and_folders_of_them_are_audited(run_verb, tmp_path):
    from datasets import Dataset, DatasetDict

    found = Dataset.from_list([{"id": "a", "text": "All is well."}, {"text": "User: hello"}])
    (tmp_path / "many").mkdir()
    found.to_parquet(str(tmp_path / "one.parquet"))
    found.to_parquet(str(tmp_path / "many" / "two.parquet"))
    found.save_to_disk(str(tmp_path / "saved"))
    DatasetDict(train=found, test=found).save_to_disk(str(tmp_path / "parts"))
    names = {"one.parquet": 2, "many": 2, "saved": 2, "parts": 4}
    for name, count in names.items():
        done = run_module("docgen.audit", [name, "--json", "--rules-only"], tmp_path)
        assert done.returncode == 1, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["flagged"] for line in lines] == [False, True] * (count // 2)
    (tmp_path / "one.parquet").write_bytes(b"PAR1")
    (tmp_path / "texts.jsonl").write_text('{"text": "x"}\n{"body": "x"}\n')
    (tmp_path / "void").mkdir()
    for name, complaint in (
        ("one.parquet", "not a parquet file"), ("texts.jsonl", "texts.jsonl:2: a record needs"),
        ("void", "no documents in void"), ("nowhere", "nowhere"),
    ):  # fmt: skip
        done = run_module("docgen.audit", [name, "--rules-only"], tmp_path)
        assert done.returncode == 2 and complaint in done.stderr and "Trace" not in done.stderr


@pytest.mark.parametrize("line", ['{"prompt": "How?"}', '{"text": " "}', '{"text": null}'])
def test_a_query_file_without_texts_is_refused_since_it_would_forbid_nothing(tmp_path, line):
    path = tmp_path / "queries.jsonl"
    path.write_text(f'{{"text": "Some request"}}\n\n{line}\n')
    with pytest.raises(CorpusError, match=r"queries\.jsonl:3: .*`text`: fill it or delete"):
        RuleBook.from_options(AuditOptions(queries=[str(path)]))


def test_seven_words_in_a_row_are_too_many_wherever_a_rule_book_comes_from(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_text('{"text": "one two three four five six seven eight nine"}\n')
    given = RuleBook.from_options(AuditOptions(queries=[str(path)]))
    default = RuleBook(given.forbidden)
    for text, is_found in (
        ("two three four five six seven", 0),
        ("two three four five six seven eight", 1),
    ):
        assert len(given.audit(text)) == len(default.audit(text)) == is_found


def test_duplicates_are_found_and_near_misses_are_not():
    base = " ".join(f"word{n}" for n in range(80))
    near = base.replace("word40", "other")
    seen, found = Seen(DedupOptions()), []
    for number, text in enumerate((base, base.upper(), near, base[:300] + " x" * 60)):
        grams = gram_hashes(text, 3)
        known = (" ".join(words_of(text)).encode(), grams, signature(grams, 128))
        found.append(seen.original_of(*known))
        if found[-1] is None:
            seen.add(number, *known)
    assert found == [None, 0, 0, None]


def test_what_is_remembered_of_a_document_is_small():
    random = np.random.default_rng(0)
    seen, count = Seen(DedupOptions()), 1000
    tracemalloc.start()
    for number in range(count):
        grams = np.unique(random.integers(2**32, size=190, dtype=np.uint32))
        sketch = random.integers(2**32, size=128, dtype=np.uint32)
        seen.add(number, random.bytes(32), grams, sketch)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / count < 4000, "90,000 documents twice are to fit beside everything else"
    assert seen.original_of(b"other", grams, sketch) == count - 1


def test_how_varied_openings_are_does_not_hang_on_the_size_of_the_corpus():
    small, large = (
        opening_figures(Counter({f"opening {n}": times for n in range(50)})) for times in (4, 40)
    )
    assert small["repeated_opening_rate"] == large["repeated_opening_rate"] == 1.0
    assert 50 <= large["effective_opening_count"] < 52 < small["effective_opening_count"] < 70
    uneven = opening_figures(Counter({"a": 90, **{f"b {n}": 1 for n in range(10)}}))
    assert uneven["effective_opening_count"] < 1.3 and uneven["commonest_opening_rate"] == 0.9
    assert opening_figures(Counter("abc"))["effective_opening_count"] is None
