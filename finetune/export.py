"""Verb: merge an adapter into its base and save the whole model, or push it to a hub.

`python -m finetune.export adapter=outputs/adapters/treatment-seed0 out=outputs/merged`
"""

import shutil
import tempfile
from pathlib import Path

from finetune.config import ExportConfig
from tacit.errors import ConfigError
from tacit.rundir.door import enter, required
from tacit.rundir.hub import hub_errors_named


def export(config: ExportConfig) -> None:
    """Save the merged model as safetensors with its tokenizer; nothing is left half-written.

    Raises:
        ConfigError: neither a folder nor a hub id is given, or the folder is not empty.
        ModelError: no adapter there.
        HubError: the hub cannot be reached or does not let us in.
    """
    adapter = required(config.adapter, "adapter", "name an adapter's folder, adapter=DIR")
    if not config.out and not config.push_to_hub:
        raise ConfigError("nowhere to export to: out=DIR, or push_to_hub=ORG/NAME")
    out = Path(config.out) if config.out else None
    if out is not None and out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty: choose another out")
    from tacit.models.adapters import base_of, check_adapter
    from tacit.models.load import load_model, load_tokenizer

    check_adapter(Path(adapter), base_of(adapter) or "")
    model, tokenizer = load_model(adapter, config.precision, "cpu"), load_tokenizer(adapter)
    if config.push_to_hub:
        with hub_errors_named():
            model.push_to_hub(config.push_to_hub, private=True)
            tokenizer.push_to_hub(config.push_to_hub, private=True)
        print(f"pushed, as private where it is new: {config.push_to_hub}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            shutil.rmtree(out, ignore_errors=True)  # empty, or not there
            partial.chmod(0o755)
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        print(f"merged model: {out}")


def main() -> None:
    """Console entry."""
    enter(export, "export", ExportConfig)


if __name__ == "__main__":
    main()
