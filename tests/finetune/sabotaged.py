"""`finetune.train` with one thing going wrong: `python -m tests.finetune.sabotaged WHAT NTH …`."""

import importlib.util
import json
import os
import signal
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace


def kill_in_save(nth):
    """Die by kill -9 in the middle of the nth file that torch writes for a checkpoint."""
    import torch

    whole, calls = torch.save, []

    def save(thing, path, *args, **kwargs):
        calls.append(path)
        if len(calls) < nth:
            return whole(thing, path, *args, **kwargs)
        with open(path, "wb") as handle:
            handle.write(b"half a fi")
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save


def kill_at_step(nth):
    """Die by kill -9 in the middle of the nth step, between forward and update."""
    from finetune.trainer import DocumentTrainer

    plain = DocumentTrainer.training_step

    def training_step(self, *args, **kwargs):
        loss = plain(self, *args, **kwargs)
        if self.state.global_step + 1 == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss

    DocumentTrainer.training_step = training_step


def kill_at_the_end(_):
    """Die by kill -9 when all is trained and saved but for the manifest."""
    from tacit.rundir import RunDir

    RunDir.finish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)


def no_number(nth, in_loss):
    import torch

    from finetune.trainer import DocumentTrainer

    plain = DocumentTrainer.training_step

    def training_step(self, model, inputs, *args, **kwargs):
        if self.state.global_step + 1 == nth and in_loss:
            self._total = lambda *_: torch.tensor(float("inf"), requires_grad=True)
        loss = plain(self, model, inputs, *args, **kwargs)
        if self.state.global_step + 1 == nth:
            next(p for p in model.parameters() if p.grad is not None).grad[0] = float("nan")
        return loss

    DocumentTrainer.training_step = training_step


def no_memory(nth):
    """Ask torch for more memory than any machine has, in the nth step."""
    import torch

    from finetune.trainer import DocumentTrainer

    plain = DocumentTrainer.training_step

    def training_step(self, *args, **kwargs):
        if self.state.global_step + 1 == nth:
            torch.empty(2**60, dtype=torch.uint8)
        return plain(self, *args, **kwargs)

    DocumentTrainer.training_step = training_step


def a_tracker_that_writes(_):
    """Stand in for trackio, as transformers calls it: what it is told goes into `told.jsonl`."""
    fake = ModuleType("trackio")

    def tell(what, **said):
        with open("told.jsonl", "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"what": what, **said}) + "\n")

    fake.init = lambda **said: tell("init", name=said["name"])
    fake.log = lambda figures, **_: tell("log", figures=figures)
    fake.finish = lambda: tell("finish")
    fake.config = {}
    fake.context_vars = SimpleNamespace(current_space_id=SimpleNamespace(get=lambda: None))
    fake.__version__, fake.__spec__ = "0.0", ModuleSpec("trackio", None)
    fake.__path__ = []
    sys.modules["trackio"] = fake
    assert importlib.util.find_spec("trackio") is not None


SABOTAGE = {
    "kill_in_save": kill_in_save,
    "kill_at_step": kill_at_step,
    "kill_at_the_end": kill_at_the_end,
    "no_memory": no_memory,
    "loss": lambda nth: no_number(nth, in_loss=True),
    "gradient": lambda nth: no_number(nth, in_loss=False),
    "tracker": a_tracker_that_writes,
}

if __name__ == "__main__":
    what, nth = sys.argv[1:3]
    del sys.argv[1:3]
    SABOTAGE[what](int(nth))
    from finetune.train import main

    main()
