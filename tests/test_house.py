"""The walls of the house, the help texts, and what a fresh clone must hold."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import REPO

MAY_IMPORT = {
    "tacit/universe": {"tacit.universe", "tacit.errors"},
    "tacit/rundir": {"tacit.rundir", "tacit.errors"},
    "tacit/models": {"tacit.models", "tacit.rundir", "tacit.errors"},
    "docgen": {"docgen", "tacit"},
    "finetune": {"finetune", "tacit.models", "tacit.rundir", "tacit.errors"},
    "eval": {"eval", "tacit"},
    "study": {"study", "docgen", "finetune", "eval", "tacit"},
}
OURS = {"tacit", "docgen", "finetune", "eval", "study"}


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_room_imports_from_a_floor_above_or_beside(room):
    allowed = MAY_IMPORT[room]
    for path in (REPO / room).rglob("*.py"):
        for name in _imports(path):
            if name.split(".")[0] in OURS:
                fits = any(name == a or name.startswith(f"{a}.") for a in allowed)
                assert fits, f"{path.relative_to(REPO)} imports {name}"


def test_help_draws_in_no_heavy_library(tmp_path):
    """What keeps --help fast: none of these is imported before there is work."""
    code = (
        "import sys\n"
        "import docgen.generate, finetune.train, finetune.replay, study.run, study.power\n"
        "import eval.run, eval.score, eval.calibrate, eval.label\n"
        "heavy = {'torch', 'transformers', 'inspect_ai', 'datasets', 'peft', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_has_outgrown_its_idea():
    for room in OURS:
        for path in (REPO / room).rglob("*.py"):
            count = len(path.read_text(encoding="utf-8").splitlines())
            assert count <= 400, f"{path.relative_to(REPO)} has {count} lines"
