"""Adapter folders: which base they belong to. Read without torch, so that a refusal is quick."""

import json
from pathlib import Path

from tacit.errors import ModelError
from tacit.models.weights import resolve_weights


def check_model(name: str) -> None:
    """Refuse a name that is neither a model nor an adapter's folder.

    Raises:
        ModelError: with what a name can be.
    """
    while base := base_of(name):
        name = base
    resolve_weights(name)


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
    if not (adapter / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{adapter} has no adapter_model.safetensors: save it in that form, pickled weights "
            "are not opened"
        )


def _same_folder(one: str, other: str) -> bool:
    return Path(one).is_dir() and Path(other).is_dir() and Path(one).samefile(other)
