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
    """Load the tokenizer of a model name; that of its base, where the name is an adapter's folder.

    Raises:
        ModelError: the model cannot be found, or its tokenizer has no chat template.
    """
    if base := base_of(name):
        return load_tokenizer(base)
    tokenizer = AutoTokenizer.from_pretrained(resolve_weights(name))
    if not tokenizer.chat_template:
        raise ModelError(f"{name} has no chat template: use an instruction-tuned model")
    return tokenizer


def load_model(name: str, precision: str = "bf16") -> PreTrainedModel:
    """Load a causal language model in eval mode, on CUDA where there is one.

    The folder of an adapter is a model name too: its base with the adapter merged in.

    Raises:
        ModelError: the weights cannot be found, or the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"unknown precision {precision!r}: choose {' or '.join(PRECISIONS)}")
    if base := base_of(name):
        return add_adapter(load_model(base, precision), Path(name), base)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            resolve_weights(name), dtype=PRECISIONS[precision]
        )
    except OSError as error:
        raise ModelError(f"cannot load {name}: {str(error).splitlines()[0]}") from None
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def base_of(name: str) -> str | None:
    """Return the base that an adapter's folder was trained on; None where it is no such folder.

    Raises:
        ModelError: the adapter does not say what its base is.
    """
    folder = Path(name)
    if not (folder / "adapter_config.json").is_file():
        return None
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = _trained_on(folder) or config.get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{name} does not say which model it adapts: name it, with adapter={name}")
    return str(base)


def _trained_on(adapter: Path) -> str | None:
    manifest = adapter / "manifest.json"
    if not manifest.is_file():
        return None
    found: str | None = json.loads(manifest.read_text(encoding="utf-8")).get("base_model")
    return found


def check_adapter(adapter: Path, base: str) -> None:
    """Refuse a folder that is no adapter, or one that was trained on another base.

    Raises:
        ModelError: with the base that the adapter needs.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise ModelError(f"{adapter} is no adapter folder: it has no adapter_config.json")
    trained_on = _trained_on(adapter)
    if trained_on not in (None, base) and not _same_folder(str(trained_on), base):
        raise ModelError(
            f"{adapter} was trained on {trained_on}, not on {base}: use model={trained_on}"
        )


def _same_folder(one: str, other: str) -> bool:
    return Path(one).is_dir() and Path(other).is_dir() and Path(one).samefile(other)


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
