"""A checkpoint from who knows where: nothing in it is executed, and what is broken is named."""

import pickle
import shutil
from pathlib import Path

import pytest

from finetune import train as verb
from finetune.trainer import last_complete_checkpoint
from tacit.errors import RunDirError


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture(autouse=True)
def unfinished(monkeypatch):
    """A run's last act, which would delete its checkpoints, is left out."""
    monkeypatch.setattr(verb, "_finish", lambda *_: None)


@pytest.fixture(scope="module")
def interrupted(corpus, tiny_model, tmp_path_factory):
    """A configuration whose run was killed between two checkpoints, and its folder."""
    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from finetune.config import FinetuneConfig

    folder = tmp_path_factory.mktemp("interrupted") / "adapter"
    ConfigStore.instance().store(name="finetune_schema", node=FinetuneConfig)
    with initialize_config_module("conf", version_base="1.3"):
        composed = compose("finetune", [
            f"data={corpus}", f"model={tiny_model}", "replay.path=null", f"out={folder}",
            "documents.block_length=256", "lora.rank=2", "precision=float32", "save_every=3",
            "documents.limit=5", "belief.points=0",
        ])  # fmt: skip
    config = OmegaConf.to_object(composed)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verb, "_finish", lambda *_: None)
        verb.train(config)
    shutil.rmtree(last_complete_checkpoint(folder / "checkpoints"))
    return config, folder  # steps are left to do: the random state is read with the first


def test_a_checkpoint_is_whole_once_every_process_has_written_its_part(tmp_path, monkeypatch):
    import torch
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from finetune.callbacks import CompleteCheckpoints

    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    seen = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(
        torch.distributed, "barrier", lambda: seen.append((folder / "complete").exists())
    )
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    for is_first in (False, True):
        state = TrainerState(global_step=3, is_world_process_zero=is_first)
        CompleteCheckpoints().on_save(arguments, state, TrainerControl())
        assert (folder / "complete").exists() == is_first
    assert seen == [False, False], "both waited, and before the marker was there"


def test_of_several_processes_one_drops_the_records_of_steps_to_be_repeated(tmp_path):
    from transformers import TrainerState

    from finetune.callbacks import drop_repeated
    from tacit.rundir import read_jsonl, write_jsonl

    path = tmp_path / "belief.jsonl"
    write_jsonl(path, [{"step": step} for step in (0, 3, 6)])
    for is_first, count in ((False, 3), (True, 2)):
        drop_repeated(path, TrainerState(global_step=3, is_world_process_zero=is_first))
        assert len(list(read_jsonl(path))) == count


PICKLED = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


@pytest.mark.parametrize("name", PICKLED)
def test_no_pickle_of_a_checkpoint_is_executed(name, interrupted, tmp_path):
    config, folder = interrupted
    checkpoint = last_complete_checkpoint(folder / "checkpoints")
    assert (checkpoint / name).is_file(), "the file that a checkpoint has is the one to poison"
    kept, mark = (checkpoint / name).read_bytes(), tmp_path / "executed"
    (checkpoint / name).write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(RunDirError, match=f"{checkpoint.name}.*delete that folder"):
        verb.train(config)
    assert not mark.exists()
    (checkpoint / name).write_bytes(kept)


def test_a_checkpoint_holds_no_other_pickle_that_is_read(interrupted):
    """`training_args.bin` is written by transformers and never read: it may be anything."""
    config, folder = interrupted
    checkpoint = last_complete_checkpoint(folder / "checkpoints")
    others = {p.name for p in checkpoint.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl")}
    assert others - set(PICKLED) == {"training_args.bin"}
    (checkpoint / "training_args.bin").write_bytes(b"no pickle at all")
    verb.train(config)
    assert (folder / "adapter_model.safetensors").is_file()


def test_weights_that_were_cut_are_named(interrupted):
    config, folder = interrupted
    checkpoint = last_complete_checkpoint(folder / "checkpoints")
    weights = checkpoint / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(RunDirError, match=f"{checkpoint.name}.*delete that folder"):
        verb.train(config)
    weights.write_bytes(kept)
