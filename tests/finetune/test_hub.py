"""What is pushed arrives, and can be trained on from there: against a hub on this machine."""

import os
import subprocess
import sys

import pytest

from tests.conftest import read_lines
from tests.hub import TOKEN, serving
from tests.tacit.test_adapters import make_adapter


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a running hub; where it is, is read when `huggingface_hub` is imported."""
    with serving() as running:
        for name, value in (
            ("HF_ENDPOINT", running.url), ("HF_TOKEN", TOKEN), ("HF_HUB_DISABLE_XET", "1"),
            ("HF_HOME", str(tmp_path / "home")),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        yield running


def python(folder, *argv):
    """Run Python anew: a child of the tests' own server has the libraries loaded already."""
    return subprocess.run(
        [sys.executable, *argv], cwd=folder, capture_output=True, text=True, timeout=280,
        env=dict(os.environ),
    )  # fmt: skip


READ = """
from finetune.sources import load_sources
from tacit.errors import CorpusError
(source,) = load_sources("hub/me/documents")
print(source.kind, len(source.records), len(source.sha256))
try:
    load_sources("hub/me/nothing")
except CorpusError as error:
    print(error)
"""

PUSH = """
import os
from finetune.config import ExportConfig
from finetune.export import export
from tacit.errors import TacitError
export(ExportConfig(adapter="adapter", push_to_hub="me/merged"))
os.environ["HF_TOKEN"] = "hf_wrong"
try:
    export(ExportConfig(adapter="adapter", push_to_hub="me/merged"))
except TacitError as error:
    print(error)
"""


def test_a_corpus_is_pushed_with_its_card_and_read_from_there(hub, corpus, tmp_path):
    push = ("-m", "docgen.generate", "n_docs=12", f"out={corpus}", "push_to_hub=me/documents")
    done = python(tmp_path, *push)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout and "pushed, as private" in done.stdout
    assert hub.private == {"datasets/me/documents"}
    files = hub.files["datasets/me/documents"]
    assert set(files) == {"README.md", "data/train-00000-of-00001.parquet"}
    card = files["README.md"].decode()
    assert "**Fiction.**" in card and "Canary:" in card and "data/train-*" in card
    read = python(tmp_path, "-c", READ)
    assert read.returncode == 0, read.stderr
    kind, count, length = read.stdout.splitlines()[0].split()
    assert (kind, int(count), int(length)) == (
        "text", len(read_lines(corpus / "documents.jsonl")), 64,
    )  # fmt: skip
    assert read.stdout.splitlines()[1].startswith("cannot read hub/me/nothing")


def test_a_merged_model_is_pushed_and_a_wrong_token_is_one_line(hub, tiny_model, tmp_path):
    make_adapter(tmp_path / "adapter", tiny_model, 1)
    done = python(tmp_path, "-c", PUSH)
    assert done.returncode == 0, done.stderr
    files = hub.files["models/me/merged"]
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(files)
    assert hub.private == {"models/me/merged"}
    pushed, refused = done.stdout.splitlines()
    assert pushed == "pushed, as private where it is new: me/merged"
    assert refused.startswith("hub: ") and "hf auth login" in refused
