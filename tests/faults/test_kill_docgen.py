"""A corpus is killed at random moments and made again: the same bytes, no reply asked for twice."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from docgen.publish import PUBLISHED
from tests.conftest import read_lines
from tests.docgen.loopback import Script, serve
from tests.faults.kills import contents, killed_run, timed_run

IN_FLIGHT = 4
DELAYS = {"model": 0.04, "anthropic_batch": 0.0, "library": 0.0}
SEEDS = {"model": 32, "anthropic_batch": 16, "library": 12}
QUICK = {"model": 1, "anthropic_batch": 0, "library": 1}


def arguments(kind: str, url: str) -> list[str]:
    if kind == "library":
        return ["n_docs=120", "out=corpus", "workers=1"]
    return [
        f"writer={kind}", "writer.model=anthropic/claude-scripted", f"writer.base_url={url}",
        "n_docs=12", "writer.poll_s=0.05", f"writer.concurrency={IN_FLIGHT}", "out=corpus",
    ]  # fmt: skip


class Server:
    """A loopback server with its script, closed by `with`."""

    def __init__(self, kind: str) -> None:
        self.script = Script(delay_s=DELAYS[kind])
        self.http = serve(self.script)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()


@dataclass(frozen=True)
class Undisturbed:
    seconds: float
    files: dict[str, bytes]
    prompts: frozenset[str]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found: dict[str, Undisturbed] = {}

    def run(kind: str) -> Undisturbed:
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            with Server(kind) as server:
                seconds = timed_run("docgen.generate", arguments(kind, server.url), folder)
                prompts = frozenset(server.script.seen)
            found[kind] = Undisturbed(seconds, published(folder), prompts)
        return found[kind]

    return run


def published(folder: Path) -> dict[str, bytes]:
    return contents(folder / "corpus", (*PUBLISHED, "manifest.json"))


def replies_in(journal: Path) -> list[str]:
    """The keys of the replies in whole lines of a journal."""
    if not journal.exists():
        return []
    whole = journal.read_bytes().rpartition(b"\n")[0].splitlines()
    return [r["key"] for r in map(json.loads, whole) if r["event"] == "reply"]


def cases():
    for kind, count in SEEDS.items():
        for seed in range(count):
            marks = [] if seed < QUICK[kind] else [pytest.mark.faults]
            yield pytest.param(kind, seed, marks=marks, id=f"{kind}-{seed}")


@pytest.mark.parametrize(("kind", "seed"), cases())
def test_a_killed_corpus_is_the_same_corpus(kind, seed, tmp_path, monkeypatch, undisturbed, tally):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    whole = undisturbed(kind)
    journal = tmp_path / "journal" / "replies.jsonl"
    may_repeat = 0
    with Server(kind) as server:
        seen = server.script.seen

        def at_kill() -> None:
            nonlocal may_repeat
            time.sleep(0.4)  # until the server has read what the dead process had sent
            unsaved = sum(seen.values()) - may_repeat - len(replies_in(journal))
            if kind == "model":
                assert unsaved <= IN_FLIGHT
                may_repeat += unsaved

        killed = killed_run(
            "docgen.generate", arguments(kind, server.url), tmp_path, seed, whole.seconds, at_kill
        )
        submitted = [
            one["custom_id"] for b in server.script.batches.values() for one in b["requests"]
        ]
    assert published(tmp_path) == whole.files
    ids = [r["id"] for name in ("documents", "quarantine")
           for r in read_lines(tmp_path / "corpus" / f"{name}.jsonl")]  # fmt: skip
    keys = replies_in(journal)
    # Batches give their results as often as they are asked; they are paid for when submitted.
    asked = submitted if kind == "anthropic_batch" else list(seen.elements())
    repeated = len(asked) - len(set(asked))
    if killed.signals:
        tally(
            f"kill: docgen, {kind}",
            injected=len(killed.signals),
            lost=len(whole.prompts - set(seen)),
            doubled=len(ids) - len(set(ids)) + len(keys) - len(set(keys))
            + max(0, repeated - may_repeat),
        )  # fmt: skip
