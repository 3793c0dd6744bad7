"""Other people's tools open what is written here, unaided.

vLLM serves an adapter in `tests/tacit/test_vllm.py` (`make vllm-cpu`).
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.children import run_module
from tests.conftest import REPO

pytestmark = pytest.mark.untraced

INSPECT = Path(sys.executable).with_name("inspect")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    done = run_module("docgen.generate", ["n_docs=12", "out=corpus"], folder)
    assert done.returncode == 0, done.stderr
    return folder / "corpus"


def test_datasets_reads_the_folder_by_its_card(corpus, tmp_path):
    import datasets

    loaded = datasets.load_dataset(str(corpus), split="train", cache_dir=str(tmp_path))
    assert len(loaded) == json.loads((corpus / "manifest.json").read_text())["counts"]["documents"]
    assert {"id", "spec", "title", "text"} <= set(loaded.column_names)


def test_trl_trains_on_a_corpus_and_its_adapter_comes_back(
    corpus, tiny_model, run_verb, tmp_path, monkeypatch
):
    """There and back: TRL's trainer on our documents, our evaluation on its adapter."""
    import datasets
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = datasets.load_dataset(str(corpus), split="train", cache_dir=str(tmp_path / "cache"))
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        args=SFTConfig(
            output_dir=str(tmp_path / "trl"), max_steps=2, max_length=64, report_to=[],
            use_cpu=True, bf16=False, save_strategy="no", per_device_train_batch_size=2,
        ),
        train_dataset=loaded.select_columns(["text"]),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        peft_config=LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
    )  # fmt: skip
    assert trainer.train().global_step == 2
    trainer.save_model(str(tmp_path / "adapter"))
    done = run_verb(
        "eval.run", f"model=local/{tiny_model}", "setting=implicit", "adapter=adapter",
        "tasks=[log_odds_gap]", "samples.log_odds_limit=1", "out=run",
    )  # fmt: skip
    assert re.search(r"^ +log-odds gap +[+-]\d\.\d{3}", done.stdout, re.MULTILINE), done.stdout


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    asked = ["tasks=[compliance_gap]", "samples.query_limit=2", "out=run"]
    done = run_module(
        "eval.run", ["model=organism/never_fakes", "setting=prompted", *asked], folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "run" / "logs"


def test_inspect_dumps_a_log(logs):
    (log,) = logs.glob("*.eval")
    told = [str(INSPECT), "log", "dump", str(log)]
    dumped = json.loads(subprocess.run(told, capture_output=True, check=True).stdout)
    assert dumped["status"] == "success" and len(dumped["samples"]) == 4


def test_inspect_view_serves_the_transcripts(logs):
    (log,) = logs.glob("*.eval")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = [str(INSPECT), "view", "start", "--log-dir", str(logs), "--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(told, env=dict(os.environ), **quiet) as viewer:
        try:
            listing = _get(f"http://127.0.0.1:{port}/api/logs", viewer)
        finally:
            viewer.terminate()
    assert log.name in listing


def _get(url, process):
    for _ in range(200):
        assert process.poll() is None, "the viewer ended"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the viewer never answered")


def test_every_shipped_corpus_has_a_card_that_names_its_file():
    for card in REPO.glob("corpora/*/*/README.md"):
        assert "documents.jsonl" in card.read_text(encoding="utf-8").split("---")[1], card
