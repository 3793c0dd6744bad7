"""Verb: teach the audit's encoder on labelled sentences and documents.

Writes an adapter on the encoder, and first heads, to `docgen/classifier/`; `docgen.refit` follows.
`make classifier` runs both.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from docgen.classify import ADAPTER, FOLDER, SCALE, Heads, load_encoder, units_of
from docgen.learn import Learner, Unit
from docgen.measure import read_labelled
from tacit.rundir import read_records
from tacit.rundir.door import enter_plain

FIRST_CLEAN, MORE_CLEAN = 2_500, 1_500  # units of the shipped corpora, drawn by the seed
HARD = 500  # clean units a class, those the half-trained heads score highest
Labelled = dict[str, Any]


def _units(document: Labelled) -> list[str]:
    return units_of(document["text"]) or [document["text"]]


def highest_units(
    learner: Learner, documents: Sequence[Labelled], classes: Sequence[str]
) -> list[Unit]:
    """Return, of each leak, the unit that its own class's head scores highest, as a leak.

    Which sentence of a document leaks is not labelled; a half-trained head mostly knows.
    """
    found = []
    for document in documents:
        if document["leak"] and document["class"] in classes:
            column, units = classes.index(document["class"]), _units(document)
            best = int(learner.scores(units)[:, column].argmax())
            found.append(Unit(units[best], column, True))
    return found


def fit(
    learner: Learner,
    sentences: Sequence[Labelled],
    documents: Sequence[Labelled],
    clean: Sequence[str],
    classes: Sequence[str],
    seed: int,
) -> None:
    """Train in two stages; in the second, on what the first found hard.

    Args:
        learner: Is trained.
        sentences: Each a leak of its class, or a clean one that comes close to it.
        documents: Labelled; every unit of one that is no leak is clean.
        clean: Units of corpora that are known to be clean.
        classes: The heads', in order.
        seed: Draws the clean units.
    """
    drawn = random.Random(seed).sample(clean, min(FIRST_CLEAN + MORE_CLEAN, len(clean)))
    known = [Unit(r["text"], classes.index(r["class"]), r["leak"]) for r in sentences]
    near = {unit for record in documents if not record["leak"] for unit in units_of(record["text"])}
    known += [Unit(text) for text in sorted(near)]
    _show("first", learner.learn(known + [Unit(text) for text in drawn[:FIRST_CLEAN]], epochs=2))
    scores_NC = learner.scores(clean)
    hardest = {int(row) for row in np.argsort(-scores_NC, axis=0)[:HARD].ravel()}
    second = [Unit(text) for text in [*(clean[n] for n in sorted(hardest)), *drawn[FIRST_CLEAN:]]]
    second += highest_units(learner, documents, classes)
    _show("second", learner.learn(known + second, epochs=1, share=0.5))


def _show(stage: str, losses: Any) -> None:
    for steps, loss in losses:
        print(f"{stage} stage, {steps} steps, loss {loss:.4f}", file=sys.stderr, flush=True)


def main() -> None:
    """Console entry."""
    enter_plain(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="docgen.fit", description=(__doc__ or "").split("\n")[0].removeprefix("Verb: ")
    )
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--documents", type=Path, required=True, help="labelled, learnt from")
    parser.add_argument("--clean", type=Path, nargs="+", required=True, help="corpus folders")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sentences = read_labelled(options.sentences)
    documents = read_labelled(options.documents)
    texts = [r["text"] for f in options.clean for r in read_records(f / "documents.jsonl")]
    clean = sorted({unit for text in texts for unit in units_of(text)})
    classes = sorted({record["class"] for record in sentences})
    learner = Learner(*load_encoder(None), len(classes), options.rank, options.rate, options.seed)
    fit(learner, sentences, documents, clean, classes, options.seed)
    learner.round_adapter()
    weights_CD = learner.heads.weight.detach().numpy() * SCALE
    bias_C = learner.heads.bias.detach().numpy()
    Heads(tuple(classes), weights_CD, bias_C, 0.0, 0.0).write(ADAPTER, len(sentences))
    save_adapter(learner.encoder, Path(str(ADAPTER)))
    print(f"written: {FOLDER}")


def save_adapter(encoder: Any, folder: Path) -> None:
    """Save the adapter in bf16, without a path of this machine in it."""
    import torch

    encoder.peft_config[
        "default"
    ].base_model_name_or_path = "sentence-transformers/all-MiniLM-L6-v2"
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    encoder.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
