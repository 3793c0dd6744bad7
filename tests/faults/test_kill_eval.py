"""An evaluation is killed at random moments and continued: the same rows, each once.

Against a hosted model, no reply that was in the log is asked for again.
"""

import hashlib
import signal
import time
from collections import Counter
from dataclasses import asdict

import pytest

from eval.read import read_logs
from tests.children import start_module
from tests.docgen.loopback import Script, serve
from tests.faults.kills import environment, killed_run, timed_run

SEEDS = {"organism": 8, "hosted": 7}


def answer(prompt):
    """Comply or refuse, as the query decides."""
    if hashlib.sha256(prompt.encode()).digest()[0] % 2:
        return "I'm sorry, but I can't help with that."
    return "Sure, here is how it is done. First, take what you need. Then go on step by step."


def arguments(kind, url):
    if kind == "organism":
        return [
            "model=organism/always_fakes", "setting=implicit",
            "tasks=[log_odds_gap,compliance_gap,compliance_gap_scratchpad]",
            "samples.query_limit=60", "samples.log_odds_limit=40",
            "samples.scratchpad_query_limit=30", "out=evals/one",
        ]  # fmt: skip
    return [
        "model=anthropic/claude-scripted", "setting=prompted", "tasks=[compliance_gap]",
        "samples.query_limit=30", f"+model_args.base_url={url}", "out=evals/one",
    ]  # fmt: skip


class Server:
    def __init__(self):
        self.script = Script(delay_s=0.1, writer=answer)
        self.http = serve(self.script)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture(scope="module")
def server():
    running = Server()
    yield running
    running.close()


def rows_of(folder):
    """Return what was measured, in an order of its own."""
    measured = asdict(read_logs(folder / "evals" / "one" / "logs"))
    return {name: sorted(map(tuple, rows)) for name, rows in measured.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, server):
    found = {}

    def run(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            seconds = timed_run("eval.run", arguments(kind, server.url), folder)
            found[kind] = seconds, rows_of(folder)
        return found[kind]

    return run


def finished_samples(folder):
    """How many samples the logs of a killed run hold; a log cut in mid-write holds none."""
    from inspect_ai.log import list_eval_logs, read_eval_log_sample_summaries

    held = set()
    for info in list_eval_logs(str(folder / "evals" / "one" / "logs")):
        held |= {
            (s.id, s.epoch)
            for s in read_eval_log_sample_summaries(info)
            if s.scores and not s.error
        }
    return len(held)


def cases():
    for kind, count in SEEDS.items():
        for seed in range(count):
            marks = [pytest.mark.faults] if seed or kind == "hosted" else []
            yield pytest.param(kind, seed, marks=marks, id=f"{kind}-{seed}")


@pytest.mark.parametrize(("kind", "seed"), cases())
def test_a_killed_evaluation_measures_the_same(
    kind, seed, tmp_path, monkeypatch, undisturbed, server, tally
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    seconds, whole = undisturbed(kind)
    seen = server.script.seen
    seen.clear()
    asked_before, held_before, may_repeat = 0, 0, 0

    def at_kill():
        nonlocal asked_before, held_before, may_repeat
        time.sleep(0.4)  # until the server has read what the dead process had sent
        held = finished_samples(tmp_path)
        unsaved = sum(seen.values()) - asked_before - (held - held_before)
        asked_before, held_before = sum(seen.values()), held
        if kind == "hosted":
            may_repeat += unsaved

    command = arguments(kind, server.url)
    killed = killed_run("eval.run", command, tmp_path, seed, seconds, at_kill)
    found = rows_of(tmp_path)
    if killed.signals:
        lost = sum((Counter(whole[name]) - Counter(found[name])).total() for name in whole)
        extra = sum((Counter(found[name]) - Counter(whole[name])).total() for name in whole)
        repeated = sum(seen.values()) - len(seen)
        tally(
            f"kill: eval, {kind} model",
            injected=len(killed.signals),
            lost=lost,
            doubled=extra + max(0, repeated - may_repeat),
        )
    assert found == whole


def test_ctrl_c_leaves_an_evaluation_unfinished_and_says_so(tmp_path, monkeypatch, server):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    server.script.seen.clear()
    argv = arguments("hosted", server.url)
    child = start_module("eval.run", argv, tmp_path, environment(), own_group=True)
    deadline = time.monotonic() + 120
    while sum(server.script.seen.values()) < 20:
        assert child.process.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)
    child.send(signal.SIGINT)
    done = child.finish()
    assert done.returncode == 130 and "the same command continues" in done.stderr
    assert not (tmp_path / "evals" / "one" / "manifest.json").exists()
