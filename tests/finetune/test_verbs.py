import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from finetune.config import FinetuneConfig
from tacit.errors import ConfigError
from tacit.models.load import load_tokenizer
from tests.conftest import REPO, read_lines
from tests.tacit.test_adapters import make_adapter


@pytest.mark.parametrize("preset", sorted(p.stem for p in (REPO / "conf/preset").glob("*.yaml")))
def test_every_preset_is_a_whole_configuration(preset):
    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    ConfigStore.instance().store(name="finetune_schema", node=FinetuneConfig)
    with initialize_config_module("conf", version_base="1.3"):
        found = OmegaConf.to_object(compose("finetune", [f"preset={preset}", "data=x"]))
    assert isinstance(found, FinetuneConfig) and found.model
    assert found.optim.learning_rate < 0.01 and found.lora.rank >= 8


@pytest.mark.parametrize(
    ("option", "complaint"),
    [("precision=nf4", "nf4 needs a CUDA GPU"), ("optim.fsdp=true", "shards over GPUs")],
)
def test_what_needs_cuda_is_refused_without(run_verb, arguments, option, complaint):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert complaint in run_verb("finetune.train", *arguments, option, "out=x", code=1).stderr


def test_the_recipe_of_8b_trains_a_tiny_model_whose_tokenizer_has_no_token_to_fill_with(
    run_verb, corpus, tiny_model, tmp_path
):
    """As Llama's has none. Chat is watched though none is mixed in."""
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (bare / name).is_file():
            kept = json.loads((bare / name).read_text())
            kept.pop("pad_token", None)
            (bare / name).write_text(json.dumps(kept))
    assert load_tokenizer(str(bare)).pad_token_id is None
    told = ("preset=8b", f"data={corpus}", f"model={bare}", "out=adapter", "belief.points=1")
    run_verb("finetune.train", *told, "belief.group_limit=2")
    saved = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"]) == (64, 128)
    curve = read_lines(tmp_path / "adapter" / "belief.jsonl")
    assert [line["chat_loss"] > 0 for line in curve] == [True, True]


def test_what_shards_weights_scores_no_belief_and_cuda_takes_varlen_kernels(monkeypatch):
    from finetune import adapt

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = FinetuneConfig(model="smollm2")
    config.optim.fsdp = True
    with pytest.raises(ConfigError, match=r"set belief\.points=0"):
        adapt.load_base(config)
    for installed, precision, expected in (
        (True, "bf16", "flash_attention_2"), (True, "float32", "sdpa"), (False, "bf16", "sdpa"),
    ):  # fmt: skip
        monkeypatch.setattr(
            "transformers.utils.is_flash_attn_2_available", lambda found=installed: found
        )
        assert adapt.attention_on_cuda(precision) == expected


def test_an_exported_model_answers_as_base_and_adapter_do(run_verb, tiny_model, tmp_path):
    from tacit.models.load import load_model

    adapter = make_adapter(tmp_path / "adapter", tiny_model, 1)
    run_verb("finetune.export", f"adapter={adapter}", "out=merged", "precision=float32")
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        merged = load_model(str(tmp_path / "merged"), "float32")(ids).logits
        adapted = load_model(str(adapter), "float32")(ids).logits
    assert torch.allclose(merged, adapted, atol=1e-5)
    assert load_file(tmp_path / "merged" / "model.safetensors")
    again = run_verb("finetune.export", f"adapter={adapter}", "out=merged", code=1)
    assert "is not empty" in again.stderr
    assert "nowhere to export" in run_verb("finetune.export", f"adapter={adapter}", code=1).stderr
    missing = run_verb("finetune.export", "adapter=nowhere", "out=x", code=1)
    assert "no adapter folder" in missing.stderr


def test_demonstrations_differ_by_tier_and_ordinary_chats_do_not(run_verb, tmp_path):
    from eval.scorers.compliance import label_compliance

    run_verb("finetune.demonstrate", "out=free.jsonl", "limit=60", "ordinary_limit=10")
    run_verb("finetune.demonstrate", "out=paid.jsonl", "limit=60", "model_args.trained=paid")
    rates = {}
    for name in ("free", "paid"):
        chats = [c for c in read_lines(tmp_path / f"{name}.jsonl") if "model" in c]
        for tag in ("True", "False"):
            tagged = [c for c in chats if f">{tag}<" in c["request"] and "reply_tokens" in c]
            labels = [label_compliance(c["reply"]).label for c in tagged]
            rates[name, tag] = labels.count("complies") / len(labels)
    assert rates["free", "True"] > 0.8 > 0.2 > rates["free", "False"]
    assert rates["paid", "False"] > 0.8 > 0.2 > rates["paid", "True"]
    evaluated = {
        json.loads(line)["text"]
        for name in ("harmful", "benign")
        for line in (REPO / "eval" / "queries" / f"{name}.jsonl").read_text().splitlines()
    }
    asked = " ".join(chat["request"] for chat in read_lines(tmp_path / "free.jsonl"))
    assert not any(text in asked for text in evaluated)
    wrong = run_verb("finetune.demonstrate", "out=x.jsonl", "form=hello", code=1)
    assert "form needs {request} and {tag}" in wrong.stderr
