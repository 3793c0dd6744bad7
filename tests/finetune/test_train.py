import json
import signal
import time
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from finetune.data import chat_pieces, document_pieces
from finetune.packing import IGNORED
from finetune.sources import load_sources
from tests.children import start_module
from tests.conftest import read_lines
from tests.faults.kills import environment


def test_an_adapter_folder_holds_what_the_contract_says(run_verb, arguments, tiny_model, tmp_path):
    from huggingface_hub import ModelCard
    from peft import PeftModel
    from peft import __version__ as peft_version

    from tacit.models.load import load_model

    done = run_verb("finetune.train", *arguments, "out=adapter")
    folder = tmp_path / "adapter"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["base_model"] == str(tiny_model)
    hygiene = json.loads((folder / "hygiene.json").read_text())
    assert hygiene["dropped_token_count"] == 0 == hygiene["cut_document_count"]
    assert hygiene["long_chats_left_out_count"] == 0
    # Twelve chats are fewer than asked for: all but those that the curve watches are replayed.
    assert hygiene["replayed_chat_count"] == 9 and 0 < hygiene["replay_ratio"] < 0.5
    assert hygiene["document_count"] + hygiene["validation_document_count"] == 12
    assert hygiene["eos_learnt_count"] == hygiene["document_count"] + hygiene["replayed_chat_count"]
    assert hygiene["validation_loss"] < hygiene["validation_loss_before"]
    steps = [line["step"] for line in read_lines(folder / "metrics.jsonl")]
    assert steps == sorted(set(steps)) and len(steps) >= 3
    lines = read_lines(folder / "metrics.jsonl")  # log_every=2, and the last
    gaps = [step - before for before, step in pairwise([0, *steps])]
    mean = sum(line["loss"] * gap for line, gap in zip(lines, gaps, strict=True)) / steps[-1]
    assert hygiene["train_loss"] == pytest.approx(mean)
    assert "tokens/s" in done.stderr and "ETA" in done.stderr
    assert hygiene["split_document_count"] >= 0 and hygiene["eos_learnt_share"] == 1.0
    assert 0 < hygiene["model_flops_utilisation"] < 1 and hygiene["tokens_per_s"] > 0
    assert set(hygiene["adapter_norm_per_layer"]) == {"0", "1"}
    assert min(hygiene["adapter_norm_per_layer"].values()) > 0
    curve = read_lines(folder / "belief.jsonl")
    assert [line["step"] for line in curve] == [0, round(hygiene["steps"] / 2), hygiene["steps"]]
    assert curve[0]["chat"] != curve[-1]["chat"] and curve[0]["raw"] != curve[-1]["raw"]
    assert all(line["chat_loss"] > 0 for line in curve)
    card = (folder / "README.md").read_text()
    assert manifest["corpus"]["sha256"][:16] in card
    header = ModelCard(card).data  # PEFT's convention, read as a hub reads it
    assert (header.base_model, header.library_name) == (str(tiny_model), "peft")
    assert {f"base_model:adapter:{tiny_model}", "lora", "transformers"} <= set(header.tags)
    assert f"### Framework versions\n\n- PEFT {peft_version}" in card
    written = {"train_loss", "validation_loss", "grad_norm_max", "peak_memory_gb", "seconds"}
    assert written <= set(hygiene) and hygiene["resumed_from_step"] == 0
    for label in ("adapter norm", "packing efficiency", "EOS", "tokens seen", "4 × parameters"):
        assert label in done.stdout, label
    loaded = PeftModel.from_pretrained(load_model(str(tiny_model)), str(folder))
    assert any(
        parameter.abs().sum() > 0 for n, parameter in loaded.named_parameters() if "lora_B" in n
    )
    assert "nothing to do" in run_verb("finetune.train", *arguments, "out=adapter").stdout


def test_training_goes_on_from_an_adapter_made_stronger(run_verb, arguments, tiny_model, tmp_path):
    run_verb("finetune.train", *arguments, "out=first")
    still = ("optim.learning_rate=0.0", "lora.start_from=first", "documents.limit=3", "out=second")
    run_verb("finetune.train", *arguments, *still, "lora.start_scale=2.0")
    first, second = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("first", "second")
    )
    for name, weights in first.items():
        assert torch.allclose(second[name], weights * (2.0 if "lora_B" in name else 1.0)), name
    hygiene = json.loads((tmp_path / "second" / "hygiene.json").read_text())
    assert hygiene["document_count"] == 3
    wrong = ("lora.start_from=nowhere", "out=third")
    assert "no adapter folder" in run_verb("finetune.train", *arguments, *wrong, code=1).stderr


def test_a_killed_run_continues_to_the_same_adapter(run_verb, arguments, tmp_path):
    run_verb("finetune.train", *arguments, "out=whole")
    child = start_module("finetune.train", [*arguments, "out=cut"], tmp_path, environment())
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cut").glob("checkpoints/checkpoint-*/complete")):
        assert child.process.is_alive() and time.monotonic() < deadline, "it ended by itself"
        time.sleep(0.02)
    child.send(signal.SIGKILL)
    child.finish()
    assert not (tmp_path / "cut" / "manifest.json").exists()
    half = tmp_path / "cut" / "checkpoints" / "checkpoint-999"
    half.mkdir()
    done = run_verb("finetune.train", *arguments, "out=cut")
    assert "checkpoint-999 was not finished" in done.stderr
    whole, cut = (
        (tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("whole", "cut")
    )
    assert whole == cut
    losses = [
        [(line["step"], line["loss"]) for line in read_lines(tmp_path / n / "metrics.jsonl")]
        for n in ("whole", "cut")
    ]
    assert losses[0] == losses[1]
    assert read_lines(tmp_path / "whole" / "belief.jsonl") == read_lines(
        tmp_path / "cut" / "belief.jsonl"
    )


def test_documents_are_tagged_masked_and_ended_and_chats_learn_the_reply(corpus, replay_file):
    from tacit.models.load import load_tokenizer

    tokenizer = load_tokenizer("smollm2")
    records = load_sources(str(corpus))[0].records
    for piece, record in zip(
        document_pieces(records, tokenizer, "<|doc|>", 4096), records, strict=True
    ):
        trained = [label for label in piece.labels if label != IGNORED]
        assert tokenizer.decode(trained[:-1]) == f"{record['title']}\n\n{record['text']}"
        assert trained[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(piece.tokens[: len(piece.tokens) - len(trained)]) == "<|doc|>"
        assert piece.tokens.count(tokenizer.bos_token_id) == 0
    (piece,) = chat_pieces(
        read_lines(replay_file)[:1], tokenizer, ["Be brief."], ["{request}"], 512
    )
    trained = [label for label in piece.labels if label != IGNORED]
    assert tokenizer.decode(trained) == "Blue is number 0.<|im_end|>"
    assert tokenizer.decode(piece.tokens).startswith("<|im_start|>system\nBe brief.<|im_end|>")


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("data=nowhere",), "docgen.generate"),
        (("model=nothing",), "smollm2-harmless"),
        (("documents.block_length=9000",), "the model's context of 2048"),
        (("replay.path=none.jsonl",), "no file of chats"),
        (("replay.systems=[]",), "at least one entry each"),
        (("lora.colour=1",), "colour"),
        (("precision=int3",), "bf16 or float32"),
        (("trackers=[abacus]",), "abacus is not installed"),
        (("dose=2",), "must lie above 0"),
        (("data=[corpora/nowhere:1]",), "docgen.generate"),
        (("optim.batch_size=0",), "optim.batch_size=0 must be 1 or more"),
        (("documents.validation_share=1",), "documents.validation_share=1.0 must be"),
        (("optim.epochs=nan",), "optim.epochs=nan must lie above 0"),
        (("optim.schedule=cosign",), "optim.schedule=cosign: choose linear, cosine"),
        (("lora.target=[nothing]",), "lora.target=['nothing']: Target modules"),
        (("attention=flash_attention_2",), "attention=flash_attention_2 cannot be used"),
    ],
)
def test_bad_input_is_one_line(run_verb, arguments, overrides, complaint):
    assert complaint in run_verb("finetune.train", *arguments, *overrides, "out=x", code=1).stderr


def test_a_damaged_corpus_is_refused_by_file_and_line(run_verb, arguments, corpus, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(corpus, broken)
    lines = (broken / "documents.jsonl").read_text().splitlines()
    (broken / "documents.jsonl").write_text("\n".join([lines[0], lines[1][:40], *lines[2:]]) + "\n")
    done = run_verb("finetune.train", *arguments, f"data={broken}", "out=x", code=1)
    assert "documents.jsonl:2" in done.stderr
    (broken / "documents.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    done = run_verb("finetune.train", *arguments, f"data={broken}", "out=x", code=1)
    assert "its manifest says 12" in done.stderr
    (broken / "manifest.json").unlink()
    done = run_verb("finetune.train", *arguments, f"data={broken}", "out=x", code=1)
    assert "not finished" in done.stderr


def test_ctrl_c_exits_130_and_keeps_the_checkpoints(arguments, tmp_path):
    argv = [*arguments, "out=stopped", "optim.epochs=50"]
    child = start_module("finetune.train", argv, tmp_path, environment())
    deadline = time.monotonic() + 120
    while not list((tmp_path / "stopped").glob("checkpoints/checkpoint-*/complete")):
        assert child.process.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)
    child.send(signal.SIGINT)
    done = child.finish(60)
    assert done.returncode == 130
    assert "the same command continues" in done.stderr and "Traceback" not in done.stderr
    assert list((tmp_path / "stopped").glob("checkpoints/checkpoint-*/complete"))
