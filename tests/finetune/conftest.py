import pytest

from tests.children import run_module


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "treatment"
    done = run_module("docgen.generate", ["n_docs=12", f"out={folder}"], folder.parent)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def arguments(corpus, tiny_model, replay_file):
    return (
        f"data={corpus}", f"model={tiny_model}", f"replay.path={replay_file}",
        "documents.block_length=128", "lora.rank=4", "log_every=2", "save_every=4",
        "precision=float32", "documents.validation_share=0.3", "belief.points=2",
        "belief.group_limit=3",
    )  # fmt: skip
