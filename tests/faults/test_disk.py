"""Disks that are full or read-only, files cut short, names that are no names, two at once."""

import os
import subprocess

import pytest

from study.config import Primary, StudyConfig
from study.plan import plan_steps
from tacit.errors import CorpusError, RunDirError
from tacit.rundir import append_line, read_jsonl, write_atomic, write_jsonl
from tacit.rundir.journal import Journal
from tacit.rundir.run import locked, open_run

RECORDS = [{"id": n, "text": f"line {n} – ünï"} for n in range(4)]


@pytest.mark.parametrize("way", ["append", "journal"])
def test_a_journal_cut_at_any_byte_of_its_last_record_loses_that_record_only(tmp_path, way, tally):
    path = tmp_path / "journal.jsonl"
    write_jsonl(path, RECORDS)
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    lost = doubled = 0
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        if way == "append":
            append_line(path, RECORDS[-1])
        else:
            with Journal(path) as journal:
                journal.append([RECORDS[-1]])
        found = list(read_jsonl(path, journal=True))
        lost += sum(record not in found for record in RECORDS)
        doubled += len(found) - len(RECORDS)
    tally(f"disk: cut in its last record, {way}", len(whole) - start, lost, doubled)


def test_a_corrupt_line_in_the_middle_is_named_and_nothing_is_changed(tmp_path, tally):
    path = tmp_path / "journal.jsonl"
    write_jsonl(path, RECORDS)
    lines = path.read_bytes().splitlines(keepends=True)
    wrongs = [b"{\n", b"\x00\x00\n", b"\xff\xfe\n", b"[1]\n", b"null\n", b"{} {}\n"]
    for wrong in wrongs:
        broken = b"".join([*lines[:2], wrong, *lines[3:]])
        path.write_bytes(broken)
        with pytest.raises(CorpusError, match=r"journal\.jsonl:3"), Journal(path):
            pass
        assert path.read_bytes() == broken
    tally("disk: corrupt middle line", len(wrongs))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs rights that this user does not have")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("leave", [0, 1, 2, 4, 16])
def test_a_full_disk_keeps_the_old_file_and_the_journal(small_disk, leave, tally):
    journal, old = small_disk / "journal.jsonl", small_disk / "old.json"
    write_jsonl(journal, RECORDS)
    write_atomic(old, "old")
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
    os.truncate(
        small_disk / "filler", max(0, (small_disk / "filler").stat().st_size - 4096 * leave)
    )
    with pytest.raises(OSError):
        write_atomic(old, "n" * (4096 * leave + 8192))
    with pytest.raises(OSError), Journal(journal) as open_journal:
        open_journal.append([{"id": 4, "text": "x" * (4096 * leave + 8192)}])
    (small_disk / "filler").unlink()
    assert not list(small_disk.glob(".*.partial"))
    with Journal(journal) as open_journal:
        open_journal.append([{"id": 4}])
    found = list(read_jsonl(journal, journal=True))
    lost = sum(record not in found for record in RECORDS) + (old.read_text() != "old")
    tally("disk: full", 2, lost, len(found) - 5)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_at_the_last_step_leaves_the_old_file(tmp_path, monkeypatch, step, tally):
    path = tmp_path / "file.json"
    write_atomic(path, "old")

    def fail(*_):
        raise OSError(5, "Input/output error")

    target = "os.fsync" if step == "fsync" else "pathlib.Path.replace"
    with monkeypatch.context() as patch:
        patch.setattr(target, fail)
        with pytest.raises(OSError):
            write_atomic(path, "new")
    left = [one.name for one in tmp_path.iterdir()]
    tally(f"disk: fails at {step}", 1, int(path.read_text() != "old" or left != ["file.json"]))


def test_a_full_disk_is_one_line_on_the_real_command(small_disk, run_verb, tally):
    out = small_disk / "corpus"
    done = run_verb("docgen.generate", "n_docs=300", f"out={out}", "workers=1", code=1)
    assert "no disk space left" in done.stderr
    assert not (out / "manifest.json").exists()
    tally("disk: full, docgen", 1)


@pytest.mark.parametrize("name", ["n" * 300, "a\0b", "a\nb"])
def test_a_name_that_is_no_name_is_refused(tmp_path, name, tally):
    with pytest.raises(RunDirError):
        open_run(tmp_path / name, {"a": 1})
    tally("disk: a name that is none", 1)


def test_a_read_only_disk_is_one_line(small_disk, run_verb, tally):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = run_verb("docgen.generate", "n_docs=3", f"out={small_disk / 'corpus'}", code=1)
    assert "cannot be written (Read-only file system)" in done.stderr
    tally("disk: read-only", 1)


NO_FOLDER = {
    "a file": lambda path: path.write_text("mine"),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("what", NO_FOLDER)
def test_what_is_no_folder_is_left_as_it_is(tmp_path, run_verb, what, tally):
    path = tmp_path / "corpus"
    NO_FOLDER[what](path)
    before = os.lstat(path)
    done = run_verb("docgen.generate", "n_docs=3", "out=corpus", code=1)
    assert "corpus" in done.stderr and "choose another folder" in done.stderr
    changed = os.lstat(path).st_mtime_ns != before.st_mtime_ns or len(list(tmp_path.iterdir())) > 1
    tally(f"disk: {what} as a folder", 1, int(changed))


def test_a_linked_folder_and_one_above_hold_their_run_and_nothing_lands_beside_it(
    tmp_path, run_verb, tally
):
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "deep").mkdir()
    run_verb("docgen.generate", "n_docs=3", "out=link", "workers=1")
    run_verb("docgen.generate", "n_docs=3", "out=deep/../above", "workers=1")
    whole = {path.name for path in real.iterdir()}
    above = {path.name for path in (tmp_path / "above").iterdir()}
    lost = int("manifest.json" not in whole) + len(whole ^ above)
    beside = {path.name for path in tmp_path.iterdir()} - {"real", "link", "deep", "above"}
    tally("disk: a link and ../ as a folder", 2, lost + len(beside))


def test_the_parts_of_a_study_stay_in_its_folder(tmp_path, tally):
    names = ["..", ".", "../up", "a/../../up", "/etc", "a\0b", "\u202eup", "without=../x"]
    config = StudyConfig(corpora=["treatment", "swapped", *names], primary=Primary())
    steps = plan_steps(config, tmp_path / "study")
    outside = [step.out for step in steps if step.out.resolve().parent.parent != tmp_path / "study"]
    tally("disk: a path as a part's name", len(names), len(outside))


def test_a_folder_in_use_is_refused_to_a_second_process(tmp_path, run_verb, tally):
    out = tmp_path / "corpus"
    with locked(out):
        done = run_verb("docgen.generate", "n_docs=3", f"out={out}", code=1)
    assert "in use by another process" in done.stderr
    tally("disk: two processes on one folder", 1)
