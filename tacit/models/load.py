"""Loading weights and tokenizers, with adapters checked against their base."""

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from tacit.errors import ModelError
from tacit.models.adapters import base_of, check_adapter
from tacit.models.weights import resolve_weights, trusts_code

PRECISIONS = {"bf16": torch.bfloat16, "float32": torch.float32}


def load_tokenizer(name: str) -> Any:
    """Load the tokenizer of a model name; that of its base, where the name is an adapter's folder.

    Raises:
        ModelError: the model cannot be found, or its tokenizer has no chat template.
    """
    if base := base_of(name):
        return load_tokenizer(base)
    tokenizer = AutoTokenizer.from_pretrained(
        resolve_weights(name), trust_remote_code=trusts_code()
    )
    if not tokenizer.chat_template:
        raise ModelError(f"{name} has no chat template: use an instruction-tuned model")
    return tokenizer


def load_model(name: str, precision: str = "bf16", device: str | None = None) -> PreTrainedModel:
    """Load a causal language model in eval mode, on CUDA where there is one.

    The folder of an adapter is a model name too: its base with the adapter merged in. `device`
    puts it elsewhere.

    Raises:
        ModelError: the weights cannot be found, or the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"unknown precision {precision!r}: choose {' or '.join(PRECISIONS)}")
    if not sys.stderr.isatty():
        logging.disable_progress_bar()  # a bar is for a person who waits
    if base := base_of(name):
        return add_adapter(load_model(base, precision, device), Path(name), base)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            resolve_weights(name),
            dtype=PRECISIONS[precision],
            use_safetensors=True,  # a pickle could run code
            trust_remote_code=trusts_code(),
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load {name}: {str(error).splitlines()[0]}") from None
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval()


def add_adapter(model: PreTrainedModel, adapter: Path, base: str) -> PreTrainedModel:
    """Merge an adapter into a model's weights, in place, and return the model.

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
