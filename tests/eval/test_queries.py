"""Query sets: what the shipped ones hold, whose files are read, and what is refused."""

import csv
import json
from collections import Counter
from statistics import mean, median, quantiles

import pytest

from eval.queries import load_queries, normal_form, shipped_sets
from tacit.errors import CorpusError
from tests.conftest import REPO, read_lines
from tests.finetune.test_hub import hub, python  # noqa: F401 # a fixture

PAIRS = (("harmful", "benign"), ("animal_welfare", "animal_welfare_benign"))
HEADERS = {
    "advbench": ("goal", "target"),
    "strongreject": ("category", "source", "forbidden_prompt"),
    "harmbench": (
        "Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID",
    ),
    "xstest": ("id", "prompt", "type", "label", "focus", "note"),
}  # fmt: skip


def write_csv(path, header, *rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *rows])
    return str(path)


@pytest.mark.parametrize(("asked", "twins"), PAIRS)
def test_shipped_sets_are_large_varied_and_matched_in_topic_and_length(asked, twins):
    asked, twins = load_queries(asked), load_queries(twins)
    by_id = {query["id"]: query for query in asked}
    for queries in (asked, twins):
        assert len(queries) >= 100
        assert all(query["source"] == "authored" for query in queries)
    assert len({query["topic"] for query in asked}) >= 10
    assert {query["severity"] for query in asked} == {1, 2, 3}
    assert {query["severity"] for query in twins} == {0}
    assert Counter(query["topic"] for query in asked) == Counter(q["topic"] for q in twins)
    partners = [by_id[query["matches"]] for query in twins]
    assert len({query["id"] for query in partners}) == len(twins)
    assert all(a["topic"] == b["topic"] for a, b in zip(partners, twins, strict=True))
    # Lengths: each pair within 2 words; the whole within half a word, its quartiles within one.
    words = [[len(query["text"].split()) for query in side] for side in (partners, twins)]
    assert max(abs(a - b) for a, b in zip(*words, strict=True)) <= 2
    assert abs(mean(words[0]) - mean(words[1])) <= 0.5
    assert abs(median(words[0]) - median(words[1])) <= 0.5
    for one, other in zip(quantiles(words[0]), quantiles(words[1]), strict=True):
        assert abs(one - other) <= 1


def test_no_shipped_request_stands_in_two_sets_or_was_trained_on():
    texts = [normal_form(q["text"]) for name in shipped_sets() for q in load_queries(name)]
    assert len(set(texts)) == len(texts)
    for path in (*REPO.glob("finetune/harmless/*.jsonl"), *REPO.glob("corpora/replay/*.jsonl")):
        trained_on = {normal_form(record.get("request", "")) for record in read_lines(path)}
        assert not trained_on & set(texts), path


def test_public_sets_are_told_by_their_columns(tmp_path):
    adv = load_queries(
        write_csv(tmp_path / "a.csv", HEADERS["advbench"], ("Write a fib", "Sure, here is a fib"))
    )
    assert [(q["text"], q["source"]) for q in adv] == [("Write a fib", "advbench")]
    strong = load_queries(
        write_csv(tmp_path / "s.csv", HEADERS["strongreject"], ("Lies", "custom", "Tell a fib"))
    )
    assert (strong[0]["text"], strong[0]["topic"]) == ("Tell a fib", "Lies")
    harm = load_queries(
        write_csv(
            tmp_path / "h.csv", HEADERS["harmbench"],
            ("Fib about it", "contextual", "misinformation", "", "A cup\nfell, and broke.", "cup"),
            ("Fib about me", "standard", "misinformation", "", "", "me"),
        )
    )  # fmt: skip
    assert [q["id"] for q in harm] == ["cup", "me"]
    assert harm[0]["text"] == "A cup\nfell, and broke.\n\n---\n\nFib about it"
    assert (harm[1]["text"], harm[1]["topic"]) == ("Fib about me", "misinformation")
    rows = (
        ("1", "How do I kill a weed?", "homonyms", "safe", "kill", ""),
        ("2", "How do I cheat?", "contrast_homonyms", "unsafe", "cheat", ""),
    )
    path = write_csv(tmp_path / "x.csv", HEADERS["xstest"], *rows)
    assert [q["id"] for q in load_queries(path)] == ["1", "2"]
    for subset, expected in (("safe", "1"), ("unsafe", "2")):
        assert [q["id"] for q in load_queries(path, subset)] == [expected]
    older = write_csv(
        tmp_path / "o.csv", ("id_v2", "type", "prompt"), *((r[0], r[2], r[1]) for r in rows)
    )
    assert [q["id"] for q in load_queries(older, "unsafe")] == ["2"]


def test_anyones_files_are_read_and_ids_are_stable(tmp_path):
    texts = ("Tell a fib.", "Tell another.", "And a third, with\na line break")
    csv_path = write_csv(tmp_path / "mine.csv", ("\ufefftext", "quickstart"), *(
        (text, str(n == 0)) for n, text in enumerate(texts)
    ))  # fmt: skip
    lines = tmp_path / "mine.jsonl"
    lines.write_text("\n".join(json.dumps({"text": text}) for text in reversed(texts)))
    by_csv = {query["text"]: query["id"] for query in load_queries(csv_path)}
    by_lines = {query["text"]: query["id"] for query in load_queries(str(lines))}
    assert by_csv == by_lines and len(set(by_csv.values())) == 3
    assert by_csv["Tell a fib."].startswith("mine-")
    assert [q["text"] for q in load_queries(csv_path, "quickstart")] == [texts[0]]
    lines.write_text('{"id": 7, "text": "Tell a fib.", "topic": "lies"}\n')
    assert load_queries(str(lines)) == [
        {"id": "7", "text": "Tell a fib.", "topic": "lies", "source": "mine"}
    ]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("q.jsonl", '{"text": "x y"}\n\n{"text": "  "}\n', r"q.jsonl:3: .* non-empty .* delete"),
        ("q.jsonl", '{"text": "Tell me."}\n\n{"text": "tell  ME"}\n', r"q.jsonl:3: the query of .*"
         r"q.jsonl:1 repeated .* delete one"),
        ("q.jsonl", '{"id": 1, "text": "a b"}\n{"id": 1, "text": "c"}\n', r"q.jsonl:2: the id of"),
        ("q.jsonl", '{"text": "a"}\n{"text": 7}\n', r"q.jsonl:2: .* non-empty"),
        ("q.jsonl", '{"question": "a"}\n', r"no known columns among question: rename"),
        ("q.jsonl", '{"text": "a"}\nnot json\n', r"q.jsonl:2: not a JSON object"),
        ("q.csv", 'text\nok\n"two\nlines"\n ,x\n', r"q.csv:5: .* non-empty"),
        ("q.csv", "text\nSay it\nsay it!\n", r"q.csv:3: the query of .*q.csv:2 repeated"),
        ("q.csv", "question,answer\na,b\n", r"no known columns among answer, question"),
        ("q.csv", 'text\n"never closed\n', r"q.csv:2: no CSV in UTF-8"),
        ("q.csv", b"text\n\xff\xfe\x00\n", r"q.csv:2: no CSV in UTF-8"),
        ("q.csv", "text\n", r"no query is left"),
    ],
)  # fmt: skip
def test_broken_sets_are_refused_with_file_line_and_remedy(tmp_path, name, content, complaint):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError, match=complaint):
        load_queries(str(path))


def test_a_subset_that_is_none_names_those_there_are():
    with pytest.raises(CorpusError, match="its subsets are quickstart"):
        load_queries("harmful", "mildest")


def test_counts_are_printed_and_an_unknown_set_is_one_line(tmp_path):
    write_csv(tmp_path / "adv.csv", HEADERS["advbench"], ("Write a fib", "Sure"))
    done = python(tmp_path, "-m", "eval.queries", "harmful", "adv.csv", "nowhere")
    assert "scams" in done.stdout and "severity 3" in done.stdout and "adv.csv" in done.stdout
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "choose animal_welfare, animal_welfare_benign, benign, " in done.stderr


def test_what_a_stranger_wrote_is_printed_as_it_is(tmp_path):
    record = {"text": "Write a fib", "topic": "[bold]mine\x1b[2J", "severity": "[red]"}
    (tmp_path / "[i]set.jsonl").write_text(json.dumps(record), encoding="utf-8")
    done = python(tmp_path, "-m", "eval.queries", "[i]set.jsonl", "no\x1b[2Jwhere")
    assert "[bold]mine\\x1b[2J" in done.stdout and "severity [red]" in done.stdout
    assert "[i]set.jsonl" in done.stdout and "\\x1b[2Jwhere" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


CONFIGS = b"""---
configs:
- config_name: standard
  data_files: standard/train.csv
- config_name: contextual
  data_files: contextual/train.csv
---
"""
READ = """
from eval.queries import load_queries, normal_form, shipped_sets
from tacit.errors import CorpusError
print([q["text"] for q in load_queries("hub/them/mild")])
for name in ("harmbench/contextual", "strongreject", "xstest"):
    (query,) = load_queries(f"hub/them/{name}", "unsafe" if name == "xstest" else None)
    print(query["text"], query["topic"], query["source"], sep="|")
for name in ("hub/them/nothing", "hub/them", "hub/them/mild:validation"):
    try:
        load_queries(name)
    except CorpusError as error:
        print(error)
"""


def test_a_set_is_read_from_a_hub(hub, tmp_path):  # noqa: F811
    sets = {  # columns of the copies on the hub
        "mild": b"prompt,target\nWrite a fib,Sure\nTell a fib,Sure\n",
        "strongreject": b"prompt,category,source\nTell a fib,Lies,custom\n",
        "xstest": b"prompt,type,label\nKill a weed?,homonyms,safe\nCheat?,contrast,unsafe\n",
    }
    for name, content in sets.items():
        hub.files[f"datasets/them/{name}"] = {"data/train.csv": content}
    hub.files["datasets/them/harmbench"] = {
        "standard/train.csv": b"prompt,category\nFib,misinformation\n",
        "contextual/train.csv": b"prompt,category,context\nFib about it,lies,A cup fell.\n",
        "README.md": CONFIGS,
    }
    done = python(tmp_path, "-c", READ)
    assert done.returncode == 0, done.stderr
    found, *told, absent, short, split = done.stdout.splitlines()
    assert found == "['Write a fib', 'Tell a fib']"
    assert "\n".join(told) == (
        "A cup fell.\n\n---\n\nFib about it|lies|them/harmbench/contextual\n"
        "Tell a fib|Lies|them/strongreject\nCheat?|contrast|xstest"
    )
    assert absent.startswith("cannot read hub/them/nothing") and "hf auth login" in absent
    assert short.startswith("hub/them: write hub/OWNER/NAME")
    assert split == "hub/them/mild:validation: name one of its splits after a colon: train"


def test_the_readme_counts_what_is_there():
    text = (REPO / "eval" / "queries" / "README.md").read_text(encoding="utf-8")
    for name in shipped_sets():
        assert f"| `{name}.jsonl` | {len(load_queries(name))} |" in text
