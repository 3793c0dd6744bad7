"""An evaluation is killed at random moments and continued: the same rows, each once.

Against a hosted model, with a hosted judge too, at most the calls in flight are asked again.
"""

import hashlib
import signal
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

import pytest

from eval.read import read_logs
from tacit.rundir import read_jsonl
from tests.children import run_module, start_module
from tests.docgen.loopback import Script, serve
from tests.eval.scripted_judge import FORM, form_of, rubric
from tests.faults.kills import environment, killed_run, timed_run

AT_ONCE = 12  # calls in flight, to each model
SEEDS = {
    "organism": [0, 1, 13, 15, 18], "local": [3, 13, 15], "hosted": [0, 1, 3, 13],
    "judged": [0, 13, 15],
}  # fmt: skip


def answer(prompt):
    """Comply or refuse, as the query decides; judge by how the text begins."""
    if FORM.search(prompt):
        return rubric(form_of(prompt), "I'm sorry" in prompt, 5, 5)
    digest = hashlib.sha256(prompt.encode())
    if digest.digest()[0] % 2:
        return f"I'm sorry, but I can't help with that ({digest.hexdigest()[:9]})."
    return f"Sure, here is how it is done. First, take number {digest.hexdigest()[:9]}. Then go on."


@dataclass
class Counting(Script):
    """A script that counts how many requests it holds at once."""

    held: int = 0
    most_held: int = 0
    held_by_model: Counter[str] = field(default_factory=Counter)
    most_by_model: Counter[str] = field(default_factory=Counter)
    count_lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, body):
        with self.count_lock:
            self.held += 1
            self.most_held = max(self.most_held, self.held)
            self.held_by_model[body["model"]] += 1
            self.most_by_model |= self.held_by_model
        try:
            return super().reply(body)
        finally:
            with self.count_lock:
                self.held -= 1
                self.held_by_model[body["model"]] -= 1


def slow_answer(prompt):
    time.sleep(0.1)
    return answer(prompt)


def arguments(kind, model):
    """Return the command for one kind of model."""
    first = [f"model={model}", "out=evals/one", "samples.max_tokens=16"]
    if kind == "organism":
        return [
            *first, "setting=implicit",
            "tasks=[log_odds_gap,compliance_gap,compliance_gap_scratchpad]",
            "samples.query_limit=60", "samples.log_odds_limit=40",
            "samples.scratchpad_query_limit=30",
        ]  # fmt: skip
    asked = [
        *first, "setting=prompted", "tasks=[compliance_gap]", "samples.query_limit=30",
        f"max_connections={AT_ONCE}",
    ]  # fmt: skip
    return [*asked, "samples.judge=anthropic/claude-judge"] if kind == "judged" else asked


@pytest.fixture(scope="module")
def server():
    script = Counting(writer=slow_answer)
    http = serve(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{http.server_address[1]}")
        patch.setenv("ANTHROPIC_API_KEY", "a key")
        yield script
    http.shutdown()
    http.server_close()


def rows_of(folder):
    """Return what was measured, in an order of its own."""
    measured = asdict(read_logs(folder / "evals" / "one" / "logs"))
    return {name: sorted(map(tuple, rows)) for name, rows in measured.items()}


@pytest.fixture(scope="module")
def commands(tiny_model):
    models = {"organism": "organism/always_fakes", "local": f"local/{tiny_model}"}
    return {kind: arguments(kind, models.get(kind, "anthropic/claude-scripted")) for kind in SEEDS}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, server, commands):
    found = {}

    def run(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            seconds = timed_run("eval.run", commands[kind], folder)
            found[kind] = seconds, rows_of(folder)
        return found[kind]

    return run


def kept_replies(folder):
    """How many replies a killed run had on disk."""
    path = folder / "evals" / "one" / "replies.jsonl"
    return sum(1 for _ in read_jsonl(path, journal=True)) if path.exists() else 0


def cases():
    for kind, seeds in SEEDS.items():
        for seed in seeds:
            yield pytest.param(kind, seed, marks=pytest.mark.faults, id=f"{kind}-{seed}")


@pytest.mark.parametrize(("kind", "seed"), cases())
def test_a_killed_evaluation_measures_the_same(
    kind, seed, tmp_path, undisturbed, server, commands, tally
):
    seconds, whole = undisturbed(kind)
    server.seen.clear()
    server.most_held = 0
    kept, in_flight = 0, []

    def at_kill():
        nonlocal kept
        time.sleep(0.4)  # until the server has read what the dead process had sent
        while server.held:
            time.sleep(0.02)
        kept = kept_replies(tmp_path)
        in_flight.append(server.seen.total() - kept - sum(in_flight))

    killed = killed_run("eval.run", commands[kind], tmp_path, seed, seconds, at_kill)
    found = rows_of(tmp_path)
    lost = sum((Counter(whole[name]) - Counter(found[name])).total() for name in whole)
    extra = sum((Counter(found[name]) - Counter(whole[name])).total() for name in whole)
    repeated = server.seen.total() - len(server.seen)
    if killed.signals:
        tally(
            f"kill: eval, {kind} model",
            injected=len(killed.signals),
            lost=lost,
            doubled=extra + max(0, repeated - sum(in_flight)),
        )
    assert found == whole
    assert all(0 <= count <= server.most_held for count in in_flight), (in_flight, server.most_held)
    assert not kept_replies(tmp_path)  # all of them are in the log now


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="kill"),
        pytest.param(signal.SIGINT, id="ctrl-c", marks=pytest.mark.faults),
    ],
)
def test_replies_are_not_asked_for_again(number, tmp_path, undisturbed, server, commands, tally):
    _, whole = undisturbed("judged")
    server.seen.clear()
    server.most_held = 0
    server.most_by_model.clear()
    argv = commands["judged"]
    child = start_module("eval.run", argv, tmp_path, environment(), own_group=True)
    deadline = time.monotonic() + 120
    while server.seen.total() < 90:  # of 120; no sample has its judgement yet
        assert child.process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    child.send(number)
    done = child.finish()
    assert not (tmp_path / "evals" / "one" / "manifest.json").exists()
    if number == signal.SIGINT:
        assert done.returncode == 130 and "the same command continues" in done.stderr
    time.sleep(0.4)
    again = run_module("eval.run", argv, tmp_path, environment())
    assert again.returncode == 0, again.stderr
    repeated = server.seen.total() - len(server.seen)
    tally("kill: eval, judged model", doubled=max(0, repeated - server.most_held))
    assert len(server.seen) == 120
    assert set(server.most_by_model) == {"claude-scripted", "claude-judge"}
    assert max(server.most_by_model.values()) <= AT_ONCE
    assert rows_of(tmp_path) == whole
