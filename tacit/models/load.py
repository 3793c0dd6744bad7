"""Loading weights and tokenizers, with adapters checked against their base."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tacit.errors import ModelError
from tacit.models.weights import resolve_weights

PRECISIONS = {"bf16": torch.bfloat16, "float32": torch.float32}


def load_tokenizer(name: str) -> Any:
    """Load the tokenizer of a model name.

    Raises:
        ModelError: the model cannot be found, or its tokenizer has no chat template.
    """
    tokenizer = AutoTokenizer.from_pretrained(resolve_weights(name))
    if not tokenizer.chat_template:
        raise ModelError(f"{name} has no chat template: use an instruction-tuned model")
    return tokenizer


def load_model(name: str, precision: str = "bf16") -> PreTrainedModel:
    """Load a causal language model in eval mode, on CUDA where there is one.

    Raises:
        ModelError: the weights cannot be found, or the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"unknown precision {precision!r}: choose {' or '.join(PRECISIONS)}")
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            resolve_weights(name), dtype=PRECISIONS[precision]
        )
    except OSError as error:
        raise ModelError(f"cannot load {name}: {str(error).splitlines()[0]}") from None
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def check_adapter(adapter: Path, base: str) -> None:
    """Refuse a folder that is no adapter, or one that was trained on another base.

    Raises:
        ModelError: with the base that the adapter needs.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise ModelError(f"{adapter} is no adapter folder: it has no adapter_config.json")
    manifest = adapter / "manifest.json"
    if manifest.is_file():
        trained_on = json.loads(manifest.read_text(encoding="utf-8")).get("base_model")
        if trained_on not in (None, base):
            raise ModelError(
                f"{adapter} was trained on {trained_on}, not on {base}: use model={trained_on}"
            )


def add_adapter(model: PreTrainedModel, adapter: Path, base: str) -> PreTrainedModel:
    """Return the model with an adapter merged into its weights.

    Raises:
        ModelError: no adapter there, or it does not fit the base.
    """
    from peft import PeftModel

    check_adapter(adapter, base)
    try:
        merged: PreTrainedModel = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{adapter} does not fit {base}: {reason}") from None
    return merged.eval()
