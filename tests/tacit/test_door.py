"""The door of every verb: one line for what a user can mend, 130 for Ctrl-C."""

import os
import subprocess
import sys

import pytest

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


def test_a_traceback_is_shown_when_asked_for(tmp_path):
    done = _run(tmp_path, "OSError(errno.ENOSPC, 'full')", TACIT_TRACEBACK="1")
    assert done.returncode != 0 and "Traceback" in done.stderr


def test_an_unexpected_error_is_not_hidden(tmp_path):
    done = _run(tmp_path, "RuntimeError('a bug')")
    assert done.returncode != 0 and "Traceback" in done.stderr and "a bug" in done.stderr
