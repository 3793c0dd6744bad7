"""A server that fails one request in five: every document is accounted for, none twice."""

from collections import Counter

import pytest

from tests.children import start_module
from tests.conftest import read_lines
from tests.faults.chaos import CONTENT, TRANSIENT, Chaos, serve_chaos, varied
from tests.faults.kills import environment

MODELS = {"anthropic": "anthropic/claude-scripted", "openai": "openai/gpt-scripted"}


def arguments(maker, port, n_docs):
    url = f"http://127.0.0.1:{port}" + ("/v1" if maker == "openai" else "")
    return [
        "writer=model", f"writer.model={MODELS[maker]}", f"writer.base_url={url}",
        f"n_docs={n_docs}", "writer.concurrency=64", "writer.attempt_timeout_s=5",
        "writer.timeout_s=600", "audit.classifier=false", "out=corpus",
    ]  # fmt: skip


def run(maker, n_docs, folder, monkeypatch, **script):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    chaos = Chaos(writer=varied, **script)
    server = serve_chaos(chaos)
    try:
        argv = arguments(maker, server.server_address[1], n_docs)
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
    chaos = run(maker, 3, tmp_path, monkeypatch, share=0.4, kinds=TRANSIENT)
    lost, doubled = account(tmp_path, 3)
    tally(f"server: {maker}, small", chaos.injected.total(), lost, doubled)
    assert read_lines(tmp_path / "corpus" / "quarantine.jsonl") == []


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
