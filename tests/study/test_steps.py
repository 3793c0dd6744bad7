"""How steps are run: with commands that cost nothing in the verbs' place."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from study import schedule
from study.outcome import read_arms
from study.parts import check_parts, conclude_step, holes, timings
from study.plan import Step
from study.schedule import begin, run_by_launcher, run_side_by_side
from tacit.errors import RunDirError
from tacit.rundir.run import IN_USE

WRITES = (
    "import json, pathlib, sys; p = pathlib.Path(sys.argv[1]);"
    "p.mkdir(parents=True, exist_ok=True);"
    "(p / 'made').open('a').write('x'); m = {'run_key': p.name};"
    "(p / 'manifest.json').write_text(json.dumps(m))"
)
FAILS = "import sys; print('error: the disk said no'); sys.exit(1)"


class Told:
    def __init__(self):
        self.lines = []

    def changed(self, step, state):
        self.lines.append((state.word, step.id))

    def tick(self):
        pass


@pytest.fixture
def steps(tmp_path):
    study = tmp_path / "study"
    one = Step("corpus", "a", ("x=1",), study / "corpora" / "a")
    two = Step("adapter", "a", (), study / "adapters" / "a", ("corpus a",))
    three = Step("eval", "a/implicit", (), study / "evals" / "a", ("adapter a",), "a/implicit")
    four = Step("eval", "base/neither", (), study / "evals" / "base", (), "base/neither")
    return [one, two, three, four]


@pytest.fixture
def commands(monkeypatch):
    """Steps write their folder, unless they are among the broken."""
    broken = set()

    def argv(step):
        return [sys.executable, "-S", "-c", FAILS if step.id in broken else WRITES, str(step.out)]

    monkeypatch.setattr(schedule, "argv", argv)
    return broken


def made(step):
    path = step.out / "made"
    return len(path.read_text()) if path.is_file() else 0


def test_a_failed_part_takes_only_what_needs_it_and_is_tried_again(steps, commands, tmp_path):
    study = tmp_path / "study"
    commands.add("adapter a")
    told = Told()
    run_side_by_side(study, steps, 2, told)
    assert ("failed", "adapter a") in told.lines and ("blocked", "eval a/implicit") in told.lines
    assert [made(step) for step in steps] == [1, 0, 0, 1]
    assert [(hole.name, hole.why) for hole in holes(study, steps)] == [
        ("a", "the disk said no"), ("a/implicit", "there is no adapter a")
    ]  # fmt: skip
    commands.clear()
    again = Told()
    run_side_by_side(study, steps, 2, again)
    assert [name for word, name in again.lines if word == "have"] == [
        "corpus a",
        "eval base/neither",
    ]
    assert [made(step) for step in steps] == [1, 1, 1, 1] and holes(study, steps) == []
    assert set(timings(study, steps)) == {"corpus", "adapter", "eval"}


def test_a_step_waits_for_a_process_that_outlived_an_earlier_call(steps, commands, tmp_path):
    base = steps[3]
    base.out.mkdir(parents=True)
    handle = (base.out / ".lock").open("w")
    fcntl.flock(handle, fcntl.LOCK_EX)
    threading.Timer(0.8, handle.close).start()
    told, started = Told(), time.monotonic()
    run_side_by_side(tmp_path / "study", [base], 2, told)
    assert told.lines[0] == ("held", base.id) and told.lines[-1] == ("done", base.id)
    assert time.monotonic() - started > 0.7


def test_a_terminated_study_ends_its_commands_and_says_so_as_for_an_interrupt(
    steps, monkeypatch, tmp_path
):
    """`kill`, `timeout`, `scancel`: what ran on would train beside the next try."""
    sleeps = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(schedule, "argv", lambda step: sleeps)
    popen, begun = subprocess.Popen, []

    def start(*given, **options):
        begun.append(popen(*given, **options))
        return begun[-1]

    monkeypatch.setattr(schedule.subprocess, "Popen", start)

    class Killed(Told):
        def changed(self, step, state):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(tmp_path / "study", steps[:1], 1, Killed())
    assert [child.returncode for child in begun] == [-signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_step_that_came_second_to_an_outliving_process_waits_and_has_not_failed(
    steps, monkeypatch, tmp_path
):
    """The first command finds the folder taken: here by its own child, which outlives it."""
    holds = "handle = open(sys.argv[1] + '/.lock', 'w'); fcntl.flock(handle, fcntl.LOCK_EX);"
    first = f"import fcntl, os, sys, time; os.makedirs(sys.argv[1]); {holds}"
    first += "os.fork() and os._exit(1); time.sleep(0.6)"
    commands = iter([first, WRITES])
    monkeypatch.setattr(
        schedule, "argv", lambda step: [sys.executable, "-S", "-c", next(commands), str(step.out)]
    )
    told = Told()
    run_side_by_side(tmp_path / "study", [steps[3]], 1, told)
    assert [word for word, _ in told.lines] == ["running", "held", "running", "done"]


def test_a_step_that_came_second_to_one_that_ended_since_is_tried_again(
    steps, monkeypatch, tmp_path
):
    refused = f"import sys; sys.exit('error: the folder {IN_USE}: wait for it')"
    commands = iter([refused, WRITES])
    monkeypatch.setattr(
        schedule, "argv", lambda step: [sys.executable, "-S", "-c", next(commands), str(step.out)]
    )
    told = Told()
    run_side_by_side(tmp_path / "study", [steps[3]], 1, told)
    assert [word for word, _ in told.lines] == ["running", "held", "running", "done"]


ALONE = (
    "import os, sys, time; lock = sys.argv[1] + '/../taken'; os.makedirs(sys.argv[1]);"
    "os.close(os.open(lock, os.O_CREAT | os.O_EXCL)); time.sleep(0.5); os.unlink(lock);"
)


def test_steps_that_share_a_journal_run_one_after_the_other_beside_the_rest(monkeypatch, tmp_path):
    """Each fails where another holds what they share, as a journal does."""
    study = tmp_path / "study"
    journal = str(study / "corpora" / "journal")
    many = [Step("corpus", name, (), study / "corpora" / name, journal=journal) for name in "abc"]
    rest = Step("eval", "base/neither", (), study / "evals" / "base", (), "base/neither")

    def argv(step):
        return [sys.executable, "-S", "-c", (ALONE if step in many else "") + WRITES, str(step.out)]

    monkeypatch.setattr(schedule, "argv", argv)
    told = Told()
    run_side_by_side(study, [*many, rest], 4, told)
    assert [made(step) for step in (*many, rest)] == [1, 1, 1, 1] and holes(study, many) == []
    assert told.lines[:2] == [("running", "corpus a"), ("running", "eval base/neither")]


def test_a_launcher_is_given_one_step_of_a_journal_at_a_time(monkeypatch, tmp_path):
    study, sweeps = tmp_path / "study", []
    steps = [Step("corpus", name, (), study / "corpora" / name, journal="kept") for name in "ab"]
    steps.append(Step("corpus", "c", (), study / "corpora" / "c"))

    class Job:
        returncode = 0

        def __init__(self, words, **_):
            numbers = words[-1].removeprefix("step=").split(",")
            sweeps.append([steps[int(number)].name for number in numbers])
            for number in numbers:
                step = steps[int(number)]
                step.out.mkdir(parents=True)
                (step.out / "manifest.json").write_text('{"run_key": "k"}')
                conclude_step(study, step, 0, 0.1)

        def poll(self):
            return 0

        def terminate(self):
            pass

        def wait(self, seconds):
            pass

    monkeypatch.setattr(schedule.subprocess, "Popen", Job)
    run_by_launcher(study, steps, "basic", [], Told())
    assert sweeps == [["a", "c"], ["b"]]


def test_a_step_waits_for_a_journal_that_an_outliving_process_holds(commands, tmp_path):
    study = tmp_path / "study"
    journal = study / "corpora" / "journal"
    journal.mkdir(parents=True)
    handle = (journal / ".lock").open("w")
    fcntl.flock(handle, fcntl.LOCK_EX)
    threading.Timer(0.6, handle.close).start()
    step, told = Step("corpus", "a", (), study / "corpora" / "a", journal=str(journal)), Told()
    run_side_by_side(study, [step], 2, told)
    assert [word for word, _ in told.lines] == ["held", "running", "done"]


def test_a_part_of_another_configuration_is_named(steps, commands, tmp_path):
    study = tmp_path / "study"
    run_side_by_side(study, steps, 2, Told())
    check_parts(study, steps)
    (steps[1].out / "manifest.json").write_text(json.dumps({"run_key": "other"}))
    with pytest.raises(RunDirError, match=r"adapters/a comes from another configuration"):
        check_parts(study, steps)
    corpus = {"run_key": "a", "corpus": {"sha256": "not that of the corpus there"}}
    (steps[1].out / "manifest.json").write_text(json.dumps(corpus))
    with pytest.raises(RunDirError, match=r"made from another corpus than .*corpora/a"):
        check_parts(study, steps)


def test_a_step_with_another_configuration_is_not_taken_for_done(steps, commands, tmp_path):
    study = tmp_path / "study"
    run_side_by_side(study, steps[:1], 1, Told())
    changed = Step("corpus", "a", ("x=2",), steps[0].out)
    assert begin(study, [changed], Told())["corpus a"].word == "waiting"


def test_an_evaluation_without_logs_is_a_hole(steps, commands, tmp_path):
    study = tmp_path / "study"
    run_side_by_side(study, steps, 2, Told())
    arms, missing = read_arms(study, steps)
    assert arms == {} and len(missing) == 2
    assert "no Inspect logs" in missing[0].why and "move" in missing[0].why


def test_steps_share_a_ray_cluster_of_two_nodes(tmp_path, monkeypatch):
    """An existing cluster, joined by its address; each node has one core, so both are needed."""
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(tmp_path)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    try:
        study = tmp_path / "study"
        wanted = ("universe=unrelated", "n_docs=2")
        steps = [Step("corpus", name, wanted, study / "corpora" / name) for name in ("one", "two")]
        joined = [
            f"+hydra.launcher.ray.init.address={cluster.address}",
            "+hydra.launcher.ray.init.object_store_memory=null",  # the launcher has a default
            "+hydra.launcher.ray.remote.num_cpus=1",
        ]
        told = Told()
        run_by_launcher(study, steps, "ray", joined, told)
        log = (study / "logs" / "launcher.log").read_text(encoding="utf-8", errors="replace")
        assert {("done", "corpus one"), ("done", "corpus two")} <= set(told.lines), log[-2000:]
        assert all((step.out / "manifest.json").is_file() for step in steps)
    finally:
        cluster.shutdown()


@pytest.mark.parametrize(
    ("launcher", "plugin"),
    [
        ("basic", "hydra._internal.core_plugins.basic_launcher"),
        ("ray", "hydra_plugins.hydra_ray_launcher"),
        ("submitit_local", "hydra_plugins.hydra_submitit_launcher"),
    ],
)
def test_steps_go_out_as_jobs_of_a_launcher(launcher, plugin, tmp_path, monkeypatch):
    """Real commands, since jobs are processes of their own; ray and submitit where installed."""
    pytest.importorskip(plugin)
    monkeypatch.chdir(tmp_path)
    study = tmp_path / "study"
    wanted = ("universe=unrelated", "n_docs=2")
    broken = ("universe=unrelated", "n_docs=0")
    good = Step("corpus", "good", wanted, study / "corpora" / "good")
    bad = Step("corpus", "bad", broken, study / "corpora" / "bad")
    lost = Step("adapter", "bad", (), study / "adapters" / "bad", ("corpus bad",))
    told = Told()
    run_by_launcher(study, [good, bad, lost], launcher, [], told)
    assert ("done", "corpus good") in told.lines and ("failed", "corpus bad") in told.lines
    assert ("blocked", "adapter bad") in told.lines
    assert "n_docs=0" in holes(study, [good, bad, lost])[0].why
    assert (good.out / "manifest.json").is_file()
