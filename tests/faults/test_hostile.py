"""Secrets stay where they are, pickles stay shut, hostile text stays text."""

import json
import pickle
from pathlib import Path

import pytest

from tacit.errors import ModelError
from tests.children import run_module
from tests.docgen.loopback import Script, serve

KEY = "sk-ant-api03-Zk3vQ9xT7mW2pL5nR8sB1dF4hJ6gC0yU"


def test_a_key_in_the_environment_is_in_no_file_and_no_output(tmp_path, monkeypatch, tally):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("TACIT_TRACEBACK", "1")
    script = Script()
    server = serve(script)
    argv = [
        "writer=model", "writer.model=anthropic/claude-scripted", "n_docs=3", "out=x",
        f"writer.base_url=http://127.0.0.1:{server.server_address[1]}",
    ]  # fmt: skip
    done = run_module("docgen.generate", argv, tmp_path)
    assert done.returncode == 0, done.stderr
    script.key = "another key"
    refused = run_module("docgen.generate", [*argv[:-2], "out=y", argv[-1], "seed=1"], tmp_path)
    server.shutdown()
    assert refused.returncode == 1 and "Traceback" in refused.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 8
    held = sum(KEY.encode() in path.read_bytes() for path in files)
    held += sum(KEY in text for run in (done, refused) for text in (run.stdout, run.stderr))
    tally("secret: key in the environment", len(files) + 4, lost=held)


KEYS = [KEY, "sk-proj-abcdefghijklmnopqrstuvwxyz0123", "hf_abcdefghijklmnopqrstuvwxyz0123456789"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_a_config_is_refused_and_not_shown(run_verb, tmp_path, key, tally):
    done = run_verb(
        "eval.run", "model=organism/never_fakes", f"+model_args.api_key={key}", "out=x", code=1
    )
    assert "environment" in done.stderr and key not in done.stdout + done.stderr
    assert not any(key.encode() in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    tally("secret: key in a config", 1)


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_no_pickle_is_opened_in_a_folder_of_weights(tiny_model, tmp_path, tally):
    import shutil

    from tacit.models.load import load_model

    mark, folder = tmp_path / "executed", tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ModelError):
        load_model(str(folder), "float32")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(tiny_model), "r": 2,
                "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ModelError):
        load_model(str(adapter), "float32")
    tally("weights: pickled", 2, executed=int(mark.exists()))


def test_the_code_of_a_folder_of_weights_is_not_run(tiny_model, tmp_path, tally):
    import shutil

    from tacit.models.load import load_model

    mark, folder = tmp_path / "executed", tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        load_model(str(folder), "float32")
    tally("weights: code beside them", 1, executed=int(mark.exists()))
