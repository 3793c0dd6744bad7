"""The walls of the house, the help texts, and what a fresh clone must hold."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.conftest import REPO

# What each room may import besides itself, the lowest floor first.
MAY_IMPORT = {
    "tacit": {"tacit.errors"},  # the loose files, which every room may use
    "tacit.universe": {"tacit.errors"},
    "tacit.rundir": {"tacit.errors"},
    "tacit.models": {"tacit.rundir", "tacit.errors"},
    "docgen": {"tacit"},
    "finetune": {"tacit.models", "tacit.rundir", "tacit.errors"},
    "eval": {"tacit"},
    "study": {"docgen", "finetune", "eval", "tacit"},
}
OURS = {"tacit", "docgen", "finetune", "eval", "study"}


def _name_of(path):
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name_of(path): path for room in sorted(OURS) for path in (REPO / room).rglob("*.py")}


def _room_of(module):
    held = [room for room in MAY_IMPORT if module == room or module.startswith(f"{room}.")]
    return max(held, key=len)


def _imports(module, source):
    """Our modules that a module names in any import, within functions and for types too."""
    package = module if MODULES[module].stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            origin = ".".join([*above, *([node.module] if node.module else [])])
            origin = origin if node.level else str(node.module)
            whole = [f"{origin}.{alias.name}" for alias in node.names]
            found = [name if name in MODULES else origin for name in whole]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] in OURS)


@cache
def _walls():
    return {name: set(_imports(name, path.read_text("utf-8"))) for name, path in MODULES.items()}


def _breaches(imports):
    """Every import through a wall, and a circle where there is one."""
    for module, names in imports.items():
        room = _room_of(module)
        for name in names:
            fits = name in MODULES and (
                (_room_of(name) == room and room != "tacit")
                or any(name == a or name.startswith(f"{a}.") for a in MAY_IMPORT[room])
            )
            if not fits:
                yield f"{module} imports {name}"
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        yield f"a circle: {' imports '.join(error.args[1])}"


def test_no_room_imports_from_a_floor_above_or_beside_and_nothing_in_circles():
    assert list(_breaches(_walls())) == []


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("docgen.plan", "from finetune import data", "docgen.plan imports finetune.data"),
        ("finetune.data", "import tacit.universe.render", "imports tacit.universe.render"),
        ("eval.read", "from ..docgen.audit import run", "eval.read imports docgen.audit"),
        (
            "tacit.models.load",
            "def f():\n    import eval.run",
            "tacit.models.load imports eval.run",
        ),
        ("tacit.universe.render", "from tacit import rundir", "imports tacit.rundir"),
        ("tacit.rundir.files", "from . import run", "a circle: "),
        ("tacit.errors", "import study.plan", "tacit.errors imports study.plan"),
        ("tacit.errors", "from tacit.rundir import files", "tacit.errors imports tacit.rundir"),
        ("study.arms", "if TYPE_CHECKING:\n    from study.plan import Step", "a circle: "),
    ],
)
def test_a_wall_that_is_broken_is_seen(module, line, said):
    planted = {**_walls(), module: _walls()[module] | set(_imports(module, line))}
    assert any(said in breach for breach in _breaches(planted))


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
