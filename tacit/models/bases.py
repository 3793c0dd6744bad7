"""One base in memory for many adapters: each is merged in when its turn comes.

Merged weights run as fast as the base's own, and results equal those of a model loaded for one
adapter alone: before another adapter is merged, the base's weights are copied back bit by bit.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor
from transformers import PreTrainedModel

from tacit.errors import ModelError
from tacit.models.engine import Engine
from tacit.models.load import add_adapter, load_model

Answer = TypeVar("Answer")


class SharedBase:
    """A loaded base, its engine, and the adapters that are merged in at the moment.

    Args:
        name: A model name.
        precision: `bf16` or `float32`.
        memory_gb: What a batch may take beside the weights.
    """

    def __init__(self, name: str, precision: str, memory_gb: float) -> None:
        self.name = name
        self._precision, self._memory_gb = precision, memory_gb
        self.merged: tuple[str, ...] = ()
        self.lock = threading.Lock()
        self._load()

    def _load(self) -> None:
        self.model: PreTrainedModel = load_model(self.name, self._precision)
        self.engine = Engine(self.model, self._memory_gb)
        self._pristine: dict[str, Tensor] = {}

    def run(self, adapters: tuple[str, ...], answer: Callable[[Engine], Answer]) -> Answer:
        """Answer with these adapters merged in, one on top of the other; one caller at a time.

        Raises:
            ModelError: an adapter does not fit.
        """
        with self.lock:
            if adapters != self.merged:
                self._merge(adapters)
            return answer(self.engine)

    def _merge(self, adapters: tuple[str, ...]) -> None:
        if not self._pristine:
            # The output layer may share the embedding's tensor: each parameter once, by name.
            self._pristine = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        parameters = dict(self.model.named_parameters())
        for name, value in self._pristine.items():
            parameters[name].data.copy_(value)
        self.engine.forget()
        self.merged = ()
        try:
            merge_all(self.model, adapters, self.name)
        except ModelError:
            self._load()  # a refused adapter may have left layers of its own in the model
            raise
        self.merged = adapters


def merge_all(model: PreTrainedModel, adapters: Sequence[str], base: str) -> None:
    """Merge adapters into a model one on top of the other, each trained on what lies below it.

    Raises:
        ModelError: an adapter is missing, of another base, or does not fit.
    """
    below = base
    for adapter in adapters:
        add_adapter(model, Path(adapter), below)
        below = adapter


_BASES: dict[tuple[str, str, float], SharedBase] = {}
_BASES_LOCK = threading.Lock()


def shared_base(name: str, precision: str, memory_gb: float) -> SharedBase:
    """Return the base of this name, loaded once in this process."""
    key = (name, precision, memory_gb)
    with _BASES_LOCK:
        if key not in _BASES:
            _BASES[key] = SharedBase(name, precision, memory_gb)
        return _BASES[key]
