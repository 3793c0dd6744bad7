"""A server that fails one request in five: every document is accounted for, none twice."""

from collections import Counter

import pytest

from docgen.batch import ask_in_batches
from docgen.config import WriterOptions
from docgen.replies import Ledger, Request
from tacit.errors import ModelError
from tacit.rundir.journal import Journal
from tests.children import start_module
from tests.conftest import read_lines
from tests.faults.chaos import BATCH, CONTENT, TRANSIENT, Chaos, serve_chaos, varied
from tests.faults.kills import environment

MODELS = {"anthropic": "anthropic/claude-scripted", "openai": "openai/gpt-scripted"}


def arguments(maker, port, n_docs, attempt_s):
    url = f"http://127.0.0.1:{port}" + ("/v1" if maker == "openai" else "")
    return [
        "writer=model", f"writer.model={MODELS[maker]}", f"writer.base_url={url}",
        f"n_docs={n_docs}", "writer.concurrency=64", f"writer.attempt_timeout_s={attempt_s}",
        "writer.timeout_s=600", "audit.classifier=false", "out=corpus",
    ]  # fmt: skip


def run(maker, n_docs, folder, monkeypatch, attempt_s=5, **script):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    chaos = Chaos(writer=varied, hold_s=attempt_s + 1, **script)
    server = serve_chaos(chaos)
    try:
        argv = arguments(maker, server.server_address[1], n_docs, attempt_s)
        done = start_module("docgen.generate", argv, folder, environment()).finish(900)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stdout + done.stderr
    return chaos


def account(folder, n_docs):
    """Return how many documents are nowhere, and how many are there more than once."""
    corpus = folder / "corpus"
    written = [record["id"] for record in read_lines(corpus / "documents.jsonl")]
    left_out = read_lines(corpus / "quarantine.jsonl")
    assert all(record["reasons"] for record in left_out)
    ids = written + [record["id"] for record in left_out]
    keys = [r["key"] for r in read_lines(folder / "journal" / "replies.jsonl")]
    return n_docs - len(set(ids)), len(ids) - len(set(ids)) + len(keys) - len(set(keys))


@pytest.mark.parametrize("maker", ["anthropic", pytest.param("openai", marks=pytest.mark.faults)])
def test_each_transient_fault_is_waited_out(maker, tmp_path, monkeypatch, tally):
    chaos = run(maker, 3, tmp_path, monkeypatch, attempt_s=2, share=0.4, kinds=TRANSIENT)
    lost, doubled = account(tmp_path, 3)
    tally(f"server: {maker}, small", chaos.injected.total(), lost, doubled)
    assert read_lines(tmp_path / "corpus" / "quarantine.jsonl") == []


REQUESTS = [
    Request("types", "claude-scripted", "system", f"Think of {n} kinds", 100, 1.0, n)
    for n in range(40)
]


def in_batches(script, path):
    """Ask all requests in batches of ten; returns the replies, and the keys in the journal."""
    server = serve_chaos(script)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    options = WriterOptions(kind="anthropic_batch", model="claude-scripted", base_url=url)
    try:
        with Journal(path) as journal:
            ledger = Ledger(None, None)
            replies = ask_in_batches(
                REQUESTS, options, journal, ledger, lambda *_: None, lambda _: None
            )
            return replies, [r["key"] for r in journal.records if r["event"] == "reply"]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    monkeypatch.setattr("docgen.batch.LARGEST_BATCH", 10)


@pytest.mark.faults
def test_no_batch_is_sent_twice_because_an_answer_was_lost(tmp_path, small_batches, tally):
    chaos = Chaos(writer=varied, batch_kinds=BATCH)
    replies, keys = in_batches(chaos, tmp_path / "journal.jsonl")
    assert set(chaos.injected) == set(BATCH)
    sent = [one["custom_id"] for batch in chaos.batches.values() for one in batch["requests"]]
    for kind, count in sorted(chaos.injected.items()):
        lost = len(REQUESTS) - len({reply.key for reply in replies})
        doubled = len(sent) - len(set(sent)) + len(keys) - len(set(keys))
        tally(f"batches: {kind}", count, lost, doubled)


@pytest.mark.parametrize(
    ("fault", "each"), [("lost_of_each_batch", 3), ("missing_of_each_batch", 2)]
)
def test_items_that_expired_failed_or_are_missing_are_sent_again_and_no_others(
    tmp_path, small_batches, fault, each, tally
):
    chaos = Chaos(writer=varied, faults={fault: each})
    with pytest.raises(ModelError, match="requests expired or failed"):
        in_batches(chaos, tmp_path / "journal.jsonl")
    first = list(chaos.batches)
    injected = sum(min(each, len(chaos.batches[name]["requests"])) for name in first)
    mended = Chaos(writer=varied)
    replies, keys = in_batches(mended, tmp_path / "journal.jsonl")
    lost = len(REQUESTS) - len({reply.key for reply in replies})
    sent = Counter(one["custom_id"] for name in first for one in chaos.batches[name]["requests"])
    doubled = len(keys) - len(set(keys))
    # What was answered was sent once; what was not, once for each time it was not.
    doubled += abs(sent.total() - (len(REQUESTS) + injected - len(mended.seen)))
    what = fault.partition("_")[0]
    tally(f"batches: {what} items, results in another order", injected, lost, doubled)


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("maker", MODELS)
def test_ten_thousand_requests_of_which_one_in_five_fails(maker, tmp_path, monkeypatch, tally):
    n_docs = 3000 if maker == "anthropic" else 600
    chaos = run(maker, n_docs, tmp_path, monkeypatch)
    lost, doubled = account(tmp_path, n_docs)
    requests = chaos.asked.total()
    assert requests >= 3 * n_docs and chaos.injected.total() > 0.15 * requests
    assert set(chaos.injected) == {*TRANSIENT, *CONTENT}
    for kind, count in sorted(chaos.injected.items()):
        tally(f"server: {maker}, {kind}", count, lost, doubled)
    reasons = Counter(
        reason.split(" (in")[0]
        for record in read_lines(tmp_path / "corpus" / "quarantine.jsonl")
        for reason in record["reasons"]
    )
    print(f"{requests} requests, {chaos.injected.total()} faults, left out: {reasons}")
