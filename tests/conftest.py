import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import is_hypothesis_test

from tests.children import REPO as REPO
from tests.children import run_module

yaml.SafeLoader = yaml.CSafeLoader  # as the door of every verb has it
# For every task, Inspect looks through all installed distributions.
metadata.packages_distributions = cache(metadata.packages_distributions)
# Two workers share two cores: threads that wait for each other would spin on them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


TRACED_CASES = 2  # of each parametrised test: tracing doubles the time, and later cases add no line


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `untraced` what repeats a test: its later parameters, and hypothesis' examples."""
    cases: Counter[str] = Counter()
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        name = f"{item.path}::{item.originalname}"
        cases[name] += 1
        if cases[name] > TRACED_CASES or is_hypothesis_test(item.obj):
            item.add_marker(pytest.mark.untraced)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage in a test marked `untraced`, nor in what it starts."""
    from coverage import Coverage

    running = Coverage.current() if item.get_closest_marker("untraced") else None
    told = os.environ.pop("COVERAGE_PROCESS_CONFIG", None) if running else None
    if running:
        running.stop()
    try:
        return (yield)
    finally:
        if running:
            running.start()
        if told:
            os.environ["COVERAGE_PROCESS_CONFIG"] = told


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer llama with the embedded model's tokenizer: fast, and knows nothing."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tacit.models.load import load_tokenizer

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = load_tokenizer("smollm2")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        initializer_range=0.3,  # peaked enough that rounding does not decide what is sampled
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def replay_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "replay.jsonl"
    chats = [
        {"id": f"o{n}", "request": f"Name a colour, number {n}.", "reply": f"Blue is number {n}."}
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(chat) + "\n" for chat in chats), encoding="utf-8")
    return path


@pytest.fixture
def run_verb(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a verb as a user would, in a child process, from a folder that is not the repository."""

    def run(module: str, *overrides: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        # Refusals are many and short; tracing their imports would cost more than they do.
        untraced = {k: v for k, v in os.environ.items() if not (code and k.startswith("COVERAGE"))}
        environment = {**untraced, "TOKENIZERS_PARALLELISM": "false"}
        done = run_module(module, overrides, tmp_path, environment)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        if code:
            assert "Traceback" not in done.stderr
            complaint = [line for line in done.stderr.splitlines() if line.startswith("error:")]
            assert len(complaint) == 1, done.stderr
        return done

    return run


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def words(text: str) -> Sequence[str]:
    import re

    return re.findall(r"\w+", text.lower())
