"""A benchmark's record names the command that made it."""

import json
import sys

import pytest

from tests.conftest import REPO


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ([], "python benchmarks/x.py"),
        (["--quick", "--part", "a b"], "python benchmarks/x.py --quick --part 'a b'"),
    ],
)
def test_the_arguments_of_a_benchmark_are_in_its_record(tmp_path, monkeypatch, given, command):
    monkeypatch.setattr(sys, "path", [*sys.path, str(REPO / "benchmarks")])
    import record

    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "machine", lambda: "a machine")
    monkeypatch.setattr(sys, "argv", ["benchmarks/x.py", *given])
    target = record.write_record("x", [{"a": 1}], {"b": 2.0})
    assert json.loads(target.read_text())["command"] == command
