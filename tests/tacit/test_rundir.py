import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import ConfigError, CorpusError, RunDirError
from tacit.rundir import append_line, open_run, read_jsonl, run_key, write_atomic, write_jsonl
from tacit.rundir.run import locked

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
records = st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=6)


@given(records, st.data())
def test_a_journal_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, written, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    write_jsonl(path, written)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = list(read_jsonl(path, journal=True))
    assert kept == written[: whole[:cut].count(b"\n")]
    append_line(path, {"next": 1})
    assert list(read_jsonl(path)) == [*kept, {"next": 1}]


def test_a_corrupt_middle_line_is_named(tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"documents\.jsonl:2"):
        list(read_jsonl(path))


def test_half_a_character_is_read_and_written_as_the_unknown_one(tmp_path):
    path = tmp_path / "cut.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00 \\ud83d"}\n')
    assert list(read_jsonl(path)) == [{"text": "\U0001f600 \ufffd"}]
    write_jsonl(path, [{"text": "\ud83d"}])
    append_line(path, {"text": "é\ude00"})
    assert path.read_text(encoding="utf-8") == '{"text": "\ufffd"}\n{"text": "é\ufffd"}\n'


def test_a_failed_atomic_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError):
        write_atomic(path, "new")
    assert path.read_text() == "old"


def test_equal_configs_have_equal_keys():
    assert run_key({"a": 1, "b": [2]}) == run_key({"b": [2], "a": 1})
    assert run_key({"a": 1}) != run_key({"a": 2})


def test_a_folder_belongs_to_one_config(tmp_path):
    folder = tmp_path / "run"
    first = open_run(folder, {"seed": 0})
    assert not first.is_finished
    first.finish(count=3)
    again = open_run(folder, {"seed": 0})
    assert again.is_finished
    assert json.loads(again.manifest_path.read_text())["count"] == 3
    with pytest.raises(RunDirError, match=r"seed: 0 there, 1 now.*behavior_if_exists=new"):
        open_run(folder, {"seed": 1})
    with pytest.raises(RunDirError, match="holds a run already"):
        open_run(folder, {"seed": 0}, "raise")
    assert open_run(folder, {"seed": 1}, "new").path.name == "run-2"
    with pytest.raises(ConfigError, match="resume, raise or new"):
        open_run(folder, {"seed": 0}, "maybe")  # type: ignore[arg-type]


def test_a_damaged_record_of_a_run_is_said(tmp_path):
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunDirError, match="damaged"):
        open_run(tmp_path, {})


def test_a_second_process_is_refused(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(RunDirError, match="in use by another process"),
        locked(tmp_path),
    ):
        pass


def test_manifest_is_written_last_and_names_versions(tmp_path):
    run = open_run(tmp_path / "run", {"seed": 0})
    run.finish()
    manifest = json.loads(run.manifest_path.read_text())
    assert manifest["run_key"] == run.key
    assert "python" in manifest["versions"]
