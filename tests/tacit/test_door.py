"""The door of every verb: one line for what a user can mend, 130 for Ctrl-C."""

import importlib
import os
import subprocess
import sys

import pytest

from tacit.errors import CorpusError, RunDirError

BROKEN = """
import docgen.publish, errno, sys
def fail(*_):
    raise {error}
docgen.publish.publish = fail
from docgen.generate import main
sys.argv = ["docgen", "n_docs=3", "out=x"]
main()
"""


def _run(tmp_path, error, **environment):
    return subprocess.run(
        [sys.executable, "-c", BROKEN.format(error=error)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("error", "code", "complaint"),
    [
        ("OSError(errno.ENOSPC, 'full')", 1, "no disk space left; free some"),
        ("PermissionError(13, 'no', 'x/documents.jsonl')", 1, "choose another folder"),
        ("KeyboardInterrupt", 130, "the same command continues"),
    ],
)
def test_expected_failures_are_one_line(tmp_path, error, code, complaint):
    done = _run(tmp_path, error)
    assert done.returncode == code
    assert complaint in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("module", "error", "code"),
    [
        ("docgen.audit", CorpusError("x:1: mend it"), 2),
        ("docgen.audit", PermissionError(13, "no", "x"), 2),
        ("docgen.measure", CorpusError("x:1: mend it"), 1),
        ("docgen.fit", OSError(28, "full"), 1),
        ("docgen.refit", PermissionError(13, "no", "x"), 1),
        ("study.report", RunDirError("no study there"), 1),
        ("study.compare", IsADirectoryError(21, "a folder", "x.md"), 1),
        ("eval.queries", CorpusError("x:1: mend it"), 1),
    ],
)
def test_verbs_that_read_their_own_arguments_end_in_one_line_too(
    module, error, code, monkeypatch, capfd
):
    verb = importlib.import_module(module)
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    for raised, expected in ((error, code), (KeyboardInterrupt(), 130)):

        def fail(*_, raised=raised, **__):
            raise raised

        monkeypatch.setattr("argparse.ArgumentParser.parse_args", fail)
        with pytest.raises(SystemExit) as stopped:
            verb.main()
        assert stopped.value.code == expected
        assert (left == [130]) == (expected == 130)
        assert len(capfd.readouterr().err.strip().splitlines()) == 1


def test_a_traceback_is_shown_when_asked_for(tmp_path):
    done = _run(tmp_path, "OSError(errno.ENOSPC, 'full')", TACIT_TRACEBACK="1")
    assert done.returncode != 0 and "Traceback" in done.stderr


def test_an_unexpected_error_is_not_hidden(tmp_path):
    done = _run(tmp_path, "RuntimeError('a bug')")
    assert done.returncode != 0 and "Traceback" in done.stderr and "a bug" in done.stderr


def test_ctrl_c_that_hydra_wraps_in_an_error_of_its_own_is_still_ctrl_c(monkeypatch):
    import hydra
    from hydra.errors import ConfigCompositionException

    from docgen.config import DocgenConfig
    from tacit.rundir import door

    def composing():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise ConfigCompositionException from interrupt

    monkeypatch.setattr(hydra, "main", lambda **_: lambda task: composing)
    monkeypatch.setattr(sys, "argv", ["docgen"])
    with pytest.raises(KeyboardInterrupt):
        door._enter(lambda _: None, "docgen", DocgenConfig)
