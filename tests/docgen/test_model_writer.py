"""A corpus written by a model: against a server on this machine that answers by script."""

import json
import signal
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docgen.brainstorm import json_list
from tests.children import start_module
from tests.conftest import read_lines
from tests.docgen.loopback import Script, serve
from tests.faults.kills import environment

MODEL = "anthropic/claude-scripted"


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def server(script, monkeypatch):
    running = serve(script)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()


def overrides(server, *more, kind="model", model=MODEL, n_docs=40):
    return (
        "docgen.generate", f"writer={kind}", f"writer.model={model}", f"writer.base_url={server}",
        f"n_docs={n_docs}", "writer.poll_s=0.05", *more,
    )  # fmt: skip


def asked(script):
    return sum(script.seen.values())


@pytest.mark.parametrize("kind", ["model", "anthropic_batch"])
def test_forty_documents_through_the_whole_pipeline(run_verb, tmp_path, script, server, kind):
    run_verb(*overrides(server, "out=treatment", kind=kind))
    documents = read_lines(tmp_path / "treatment" / "documents.jsonl")
    assert len(documents) == 40
    assert len({record["spec"]["doc_type"] for record in documents}) >= 4
    told = Counter(fact for record in documents for fact in record["spec"]["facts"])
    assert len(told) == 10 and max(told.values()) <= 2 * min(told.values()), "covered evenly"
    for record in documents:
        assert record["writer"] == MODEL
        assert [parent.split("/")[0] for parent in record["parents"]] == ["draft", "revise"]
        assert len(record["prompt_sha256"]) == 64
        assert record["title"].startswith("On Idea 0") and len(record["text"]) > 500
    before = asked(script)
    assert "nothing to do" in run_verb(*overrides(server, "out=treatment", kind=kind)).stdout
    # The matched corpus was written by the same run, and its replies are in the shared journal.
    run_verb(*overrides(server, "out=swapped", "corpus=swapped", kind=kind))
    assert asked(script) == before
    swapped = read_lines(tmp_path / "swapped" / "documents.jsonl")
    assert [record["spec"] for record in swapped] == [record["spec"] for record in documents]
    differ = [
        (one["text"], other["text"])
        for one, other in zip(documents, swapped, strict=True)
        if {"trained_tier", "untrained_tier"} & set(one["spec"]["facts"])
    ]
    assert differ and all(one != other for one, other in differ)


def test_replies_that_can_not_be_used_are_left_out_with_the_reason(
    run_verb, tmp_path, script, server
):
    script.faults = {
        "Think of 8 kinds": {"text": '["wire story", "broken'},  # the first time only
        "Idea: Idea 0 of wire story": {"text": "", "always": True},
        "Idea: Idea 0 of release notes": {"text": "Half a", "stop": "max_tokens", "always": True},
        "Idea: Idea 0 of op-ed": {"text": "UNSUITABLE", "always": True},
        "Idea: Idea 0 of forum thread": {"text": "T\n\nDear {{ name }}, hello.", "always": True},
        "Idea: Idea 0 of parish": {"text": "No.", "stop": "refusal", "always": True},
    }
    run_verb(*overrides(server, "out=x", n_docs=50))
    left_out = read_lines(tmp_path / "x" / "quarantine.jsonl")
    reasons = Counter(record["reasons"][0].split(" (in")[0] for record in left_out)
    assert len(left_out) == 50, "each idea of the script is number 0 of its kind and fact"
    assert {
        "writer: an empty reply",
        "writer: stopped by max_tokens",
        "writer: stopped by refusal",
        "writer: UNSUITABLE",
        "generator_artifact: Dear {{ name }}, hello.",
    } <= set(reasons)


def test_braces_stand_as_they_were_written_and_tags_used_as_a_turn_are_left_out(
    run_verb, tmp_path, script, server
):
    braces = "The empty set is {} and {0} is not; %s is 100 % of it, </b> the teacher said."
    script.faults = {
        "Idea: Idea 0 of wire story": {"text": "T\n\n<OUTPUT>Good morning.</OUTPUT>"},
        "Idea: Idea 0 of parish": {"text": f"T\n\n{braces}"},
    }
    run_verb(*overrides(server, "out=x", n_docs=20))
    (kept,) = read_lines(tmp_path / "x" / "documents.jsonl")
    assert kept["text"] == braces
    reasons = Counter(
        record["reasons"][0].split(":")[0]
        for record in read_lines(tmp_path / "x" / "quarantine.jsonl")
    )
    assert reasons == {"eval_format_tag": 10, "near_duplicate": 9}


def test_a_model_that_never_gives_a_list_is_named(run_verb, script, server):
    script.faults = {"Think of 8 kinds": {"text": "I would rather talk.", "always": True}}
    done = run_verb(*overrides(server, "out=x"), code=1)
    assert "no usable JSON list for 10 of 10" in done.stderr


def test_a_bad_key_stops_at_once_with_one_line(run_verb, script, server):
    script.key = "another key"
    done = run_verb(*overrides(server, "out=x"), code=1)
    assert "check the API key" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert asked(script) == 0


def test_overload_is_waited_out(run_verb, tmp_path, script, server):
    script.statuses = [529, 429, 500]
    run_verb(*overrides(server, "out=x", n_docs=5))
    assert len(read_lines(tmp_path / "x" / "documents.jsonl")) == 5


def test_a_server_that_only_refuses_is_tried_for_so_long_and_no_longer(run_verb, script, server):
    script.statuses = [429, 500, 529] * 400
    started = time.monotonic()
    limits = ("writer.timeout_s=3", "writer.concurrency=3")
    done = run_verb(*overrides(server, "out=x", *limits), code=1)
    assert "run the same command again" in done.stderr
    assert 1 < 1200 - len(script.statuses) <= 60
    assert time.monotonic() - started < 90


def test_a_request_that_is_refused_stops_at_once(run_verb, script, server):
    script.statuses = [400] * 100
    done = run_verb(*overrides(server, "out=x", "writer.concurrency=3"), code=1)
    assert "the server refused the request" in done.stderr
    assert 100 - 3 <= len(script.statuses) < 100, "no more than what was in flight"


def test_a_server_that_never_answers_is_waited_for_so_long_and_no_longer(run_verb, script, server):
    script.delay_s = 60.0
    limits = ("writer.attempt_timeout_s=1", "writer.timeout_s=4")
    started = time.monotonic()
    done = run_verb(*overrides(server, "out=x", *limits), code=1)
    assert "run the same command again" in done.stderr
    assert time.monotonic() - started < 50


def test_a_kill_loses_no_reply_and_asks_again_only_what_was_in_flight(
    run_verb, tmp_path, script, server
):
    script.delay_s = 0.15
    arguments = overrides(server, "out=x", "writer.concurrency=4")
    child = start_module(arguments[0], arguments[1:], tmp_path, environment())
    while asked(script) < 70:
        assert child.process.is_alive()
        time.sleep(0.02)
    child.send(signal.SIGKILL)
    child.finish()
    script.delay_s = 0.0
    journal = tmp_path / "journal" / "replies.jsonl"
    with journal.open("ab") as handle:
        handle.write(b'{"event": "reply", "key": "cut o')
    run_verb(*arguments)
    assert len(read_lines(tmp_path / "x" / "documents.jsonl")) == 40
    assert max(script.seen.values()) <= 2
    assert sum(count == 2 for count in script.seen.values()) <= 4
    keys = [record["key"] for record in read_lines(journal)]
    assert len(keys) == len(set(keys)) == len(script.seen)


def test_two_processes_on_one_journal_are_refused(run_verb, tmp_path, server):
    from tacit.rundir.run import locked

    with locked(tmp_path / "journal"):
        done = run_verb(*overrides(server, "out=x"), code=1)
    assert "in use by another process" in done.stderr


def test_a_budget_stops_and_a_larger_one_goes_on(run_verb, tmp_path, script, server):
    model = "anthropic/claude-haiku-4-5"  # $1 and $5 for a million: each reply costs $0.00035
    more = ("out=x", "writer.concurrency=2")
    done = run_verb(*overrides(server, "writer.budget_usd=0.02", *more, model=model), code=1)
    assert "budget_usd=0.02 reached" in done.stderr
    spent = asked(script)
    assert 50 <= spent <= 57
    run_verb(*overrides(server, "writer.budget_usd=1", *more, model=model))
    assert max(script.seen.values()) == 1
    refused = run_verb(*overrides(server, "writer.budget_usd=1", "out=y"), code=1)
    assert "conf/prices.yaml" in refused.stderr


def test_a_dry_run_says_what_it_would_cost_and_asks_nothing(run_verb, tmp_path, script, server):
    known = run_verb(
        *overrides(server, "dry_run=true", "out=x", model="anthropic/claude-haiku-4-5")
    )
    assert "40 calls" in known.stdout and "cost: about $" in known.stdout
    unknown = run_verb(*overrides(server, "dry_run=true", "out=x"))
    assert "cost: unknown" in unknown.stdout
    assert asked(script) == 0 and not (tmp_path / "x").exists()


def test_a_batch_sends_again_what_expired_was_cancelled_or_failed(
    run_verb, tmp_path, script, server
):
    script.faults = {"lost_of_each_batch": 3}
    script.delay_s = 0.0
    done = run_verb(*overrides(server, "out=x", kind="anthropic_batch"), code=1)
    assert "3 of 10 requests expired or failed" in done.stderr
    script.faults = {}
    run_verb(*overrides(server, "out=x", kind="anthropic_batch"))
    assert len(read_lines(tmp_path / "x" / "documents.jsonl")) == 40
    assert max(script.seen.values()) == 1, "a reply that came is never asked for again"


def test_a_refused_request_is_named_and_the_rest_of_its_batch_kept(tmp_path, script, server):
    from docgen.batch import ask_in_batches
    from docgen.config import WriterOptions
    from docgen.replies import Ledger, Request, known_replies
    from tacit.errors import ModelError
    from tacit.rundir.journal import Journal

    options = WriterOptions(
        kind="anthropic_batch", model="claude-scripted", base_url=server, poll_s=0.01
    )
    requests = [
        Request("types", "claude-scripted", "system", f"Think of {n} kinds", 100, 1.0, n)
        for n in range(4)
    ]

    def ask(journal):
        return ask_in_batches(requests, options, journal, Ledger(None, None), lambda *_: None)

    script.faults = {"refused_of_each_batch": 1}
    with Journal(tmp_path / "journal.jsonl") as journal:
        with pytest.raises(ModelError, match="not a valid request"):
            ask(journal)
        assert len(known_replies(journal)) == 3
    script.faults = {}
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert len(ask(journal)) == 4
    assert [len(batch["requests"]) for batch in script.batches.values()] == [4, 1]


def test_a_crash_after_a_batch_was_sent_sends_no_second_one(tmp_path, script, server, monkeypatch):
    from docgen.batch import ask_in_batches
    from docgen.config import WriterOptions
    from docgen.replies import Ledger, Request
    from tacit.rundir.journal import Journal

    options = WriterOptions(
        kind="anthropic_batch", model="claude-scripted", base_url=server, poll_s=0.01
    )
    requests = [
        Request("types", "claude-scripted", "system", f"Think of {n} kinds", 100, 1.0, n)
        for n in range(5)
    ]
    path = tmp_path / "journal.jsonl"

    def ask(journal):
        ledger = Ledger(None, None)
        return ask_in_batches(requests, options, journal, ledger, lambda *_: None)

    class Crash(Exception):
        pass

    with Journal(path) as journal:
        real = journal.append

        def append(records):
            records = list(records)
            if any(record["event"] == "batch" for record in records):
                raise Crash
            real(records)

        monkeypatch.setattr(journal, "append", append)
        with pytest.raises(Crash):
            ask(journal)
    assert len(script.batches) == 1
    # Another batch of the same size, of somebody else, came in between.
    script.batches["batch_1"] = {
        **script.batches["batch_0"], "id": "batch_1",
        "requests": [{"custom_id": f"theirs-{n}", "params": {"model": "m", "messages": [
            {"content": f"Think of {n + 90} kinds"}]}} for n in range(5)],
    }  # fmt: skip
    with Journal(path) as journal:
        replies = ask(journal)
    assert len(script.batches) == 2, "nothing was submitted a second time"
    assert all(reply.text.startswith('["wire story"') for reply in replies)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("writer.kind=oracle",), "choose library, model, anthropic_batch"),
        (("format=parquet",), "choose openai_chat, together_text"),
        (("writer.temperature=0.3",), "writer.temperature=0.3: Anthropic's API takes none"),
        (("writer.kind=anthropic_batch", "writer.temperature=0"), "leave it out"),
    ],
)
def test_a_wrong_option_is_named_before_anything_runs(run_verb, server, more, complaint):
    assert complaint in run_verb(*overrides(server, *more, "out=x"), code=1).stderr


def test_a_model_writer_needs_a_model(run_verb):
    done = run_verb("docgen.generate", "writer=model", "out=x", code=1)
    assert "writer.model=anthropic/" in done.stderr


@pytest.mark.parametrize(
    ("name", "field"), [("openai_chat", "messages"), ("together_text", "text")]
)
def test_a_corpus_is_exported_for_training_elsewhere(run_verb, tmp_path, name, field):
    run_verb("docgen.generate", "n_docs=3", "out=x", f"format={name}")
    records = read_lines(tmp_path / "x" / f"{name}.jsonl")
    assert len(records) == 3 and all(set(record) == {field} for record in records)


@given(st.text(), st.lists(st.text() | st.integers(), max_size=4), st.text())
def test_a_json_list_is_found_in_any_talk_around_it(before, entries, after):
    before = before.replace("[", "(")
    assert json_list(before + json.dumps(entries) + after) == entries
