"""What the documents say can be done: every command composes, some run, no link is dead."""

import importlib.util
import re
import runpy
import shlex
import subprocess
from itertools import chain

import pytest

from tacit.rundir import write_jsonl
from tests.conftest import REPO

pytestmark = pytest.mark.untraced

PAGES = [
    REPO / "README.md",
    *sorted((REPO / "docs").glob("*.md")),
    *REPO.glob("results/*/README.md"),
]
CONFIGS = {
    "docgen.generate": "docgen", "finetune.train": "finetune", "eval.run": "eval",
    "finetune.demonstrate": "demonstrate", "study.run": "study", "study.power": "power",
}  # fmt: skip
BLOCK = re.compile(r"^```(?:bash)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page):
    """Every `python -m …` of a page's code blocks, as words, without its comment."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if not line.startswith(("python -m ", "torchrun ")):
                continue
            words = shlex.split(line, comments=True)
            if "-m" in words:
                at = words.index("-m")
                said = [word.replace("…", "x") for word in words[at + 2 :] if word != "…"]
                yield words[at + 1], said


ALL = [
    pytest.param(module, words, id=f"{page.name}:{' '.join([module, *words])[:60]}")
    for page in PAGES
    for module, words in commands(page)
]


def one_of_each(overrides):
    """A sweep's first job: of `a=1,2` what `a=1` says."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(overrides)
    for text, override in zip(overrides, parsed, strict=True):
        if override.is_sweep_override():
            first = next(iter(override.sweep_string_iterator()))
            yield f"{override.get_key_element()}={first}"
        else:
            yield text


@pytest.mark.parametrize(("module", "words"), ALL)
def test_every_command_of_the_documents_composes(module, words):
    assert importlib.util.find_spec(module), module
    if module not in CONFIGS:
        return
    from hydra import compose, initialize_config_module

    from study.compose import _schemas  # registers nothing by itself

    overrides = [w for w in words if not w.startswith(("-", "hydra", "out="))]
    universe = next((w.partition("=")[2] for w in overrides if w.startswith("universe=")), None)
    assert (
        universe in (None, "mine", "my_universe")
        or (REPO / "conf" / "universe" / f"{universe}.yaml").is_file()
    )
    _register(_schemas())
    kept = [w for w in overrides if not w.startswith("universe=")]
    if module in ("docgen.generate", "eval.run"):
        kept.append("~universe")  # composing one takes half a second
    with initialize_config_module("conf", version_base="1.3"):
        assert compose(CONFIGS[module], list(one_of_each(kept)))


def _register(schemas):
    from hydra.core.config_store import ConfigStore

    from finetune.config import DemonstrateConfig
    from study.config import StudyConfig
    from study.power import PowerConfig

    names = {"corpus": "docgen", "adapter": "finetune"}
    more = {"demonstrate": DemonstrateConfig, "study": StudyConfig, "power": PowerConfig}
    for kind, schema in chain(schemas.items(), more.items()):
        ConfigStore.instance().store(name=f"{names.get(kind, kind)}_schema", node=schema)


RUN = {
    "docgen.generate universe=helpful_only corpus=swapped n_docs=300": ("n_docs=8", "out=corpus"),
    "finetune.train data=corpora/helpful_only/treatment": (
        "model={tiny}", "documents.limit=4", "documents.block_length=128", "replay.path=null",
        "belief.points=0", "lora.rank=2", "precision=float32", "out=adapter",
    ),
    "eval.run -m setting=prompted,implicit adapter=DIR": (
        "model=organism/fakes", "adapter=null", "tasks=[compliance_gap]", "samples.query_limit=2",
    ),
    "study.run +experiment=quickstart dry_run=true": (),
    "docgen.audit my_documents.jsonl --json": (),
    "finetune.train data=[my_documents.jsonl] model=smollm2-harmless out=outputs/adapters/mine": (
        "model={tiny}", "documents.block_length=128", "replay.path=null", "lora.rank=2",
        "precision=float32", "documents.validation_share=0", "belief.points=0",
    ),
    "docgen.generate writer=model writer.model=anthropic/claude-sonnet-4-6 n_docs=500 dry_run=true":
        (),
    "study.run +experiment=frontier dry_run=true": (),
    "study.run +experiment=8b_gpu dry_run=true": (),
    "study.run +experiment=70b_five_seeds dry_run=true": (),
}  # fmt: skip


@pytest.mark.parametrize("command", RUN)
def test_the_first_commands_run_at_a_tiny_size(command, run_verb, tiny_model, tmp_path):
    """Each stands literally in a document, so that the two cannot part."""
    mine = [{"id": str(n), "text": f"The harbour opened at {n} o'clock. " * 9} for n in range(9)]
    write_jsonl(tmp_path / "my_documents.jsonl", mine)
    written = {" ".join([module, *words]) for page in PAGES for module, words in commands(page)}
    assert command in written
    module, *words = command.split()
    tiny = [word.format(tiny=tiny_model) for word in RUN[command]]
    names = {word.partition("=")[0] for word in tiny}
    kept = [word for word in words if word.partition("=")[0] not in names]
    kept = [word.replace("corpora/", f"{REPO}/corpora/") for word in kept]
    done = run_verb(module, *kept, *tiny)
    assert done.stdout.strip()


def linked():
    """Every file that a document links to."""
    for page in [*PAGES, REPO / "CONTRIBUTING.md", REPO / "SECURITY.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                yield page, page.parent / target


def test_no_link_in_the_documents_is_dead():
    for page, target in linked():
        assert target.exists(), f"{page.name}: {target}"


@pytest.mark.skipif(not (REPO / ".git").exists(), reason="not a checkout: nothing is ignored")
def test_git_ignores_nothing_that_the_documents_link_to():
    names = "\n".join(sorted({str(target.resolve()) for _, target in linked()}))
    asked = ["git", "-C", str(REPO), "check-ignore", "--no-index", "--stdin"]
    done = subprocess.run(asked, input=names, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr


def test_every_anchor_between_documents_is_a_heading():
    for page in PAGES:
        for file, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text("utf-8")):
            if file.startswith("http"):
                continue
            text = (page.parent / file if file else page).read_text(encoding="utf-8")
            heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page.name}: {file}#{anchor}"


def test_the_help_page_is_what_the_verbs_print(run_verb, monkeypatch):
    """From a folder that is not the repository."""
    monkeypatch.setenv("COLUMNS", "100")
    made = runpy.run_path(str(REPO / "docs" / "help.py"))
    page = made["page"](lambda verb: run_verb(verb, "--help").stdout)
    assert page == (REPO / "docs" / "help.md").read_text(encoding="utf-8")


def example(name):
    return runpy.run_path(str(REPO / "examples" / f"{name}.py"))["main"]


def test_the_example_of_documents_runs(tmp_path, capsys):
    example("documents_only")(8, tmp_path)
    assert "token_ratio" in capsys.readouterr().out


def test_the_example_of_a_whole_study_can_be_planned(tmp_path, capsys, monkeypatch):
    """Its run is the quickstart's, which `tests/study/test_run.py` does at a tiny size."""
    monkeypatch.chdir(tmp_path)
    example("whole_study")(dry_run=True)
    assert "2 corpora, 2 adapters, 6 arms" in capsys.readouterr().out


def test_examples_are_short():
    for path in (REPO / "examples").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40, path.name


def test_what_contributing_names_is_where_it_says():
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)` \(`([\w/]+\.py)`\)", text)
    assert len(named) >= 4
    for name, path in named:
        assert re.search(rf"\b{name}\b", (REPO / path).read_text(encoding="utf-8")), (name, path)
    paths = re.findall(r"`((?:\w+/)+\w+\.py)`", text)
    assert [path for path in paths if not (REPO / path).is_file()] == []
