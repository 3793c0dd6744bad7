"""The same seed and configuration, the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deterministic() -> Iterator[None]:
    """On a CPU let torch refuse each operation of which two runs could differ.

    On CUDA nothing is promised, and nothing is asked for: some kernels have no such form.
    """
    import torch

    if torch.cuda.is_available():
        yield
        return
    mode: Any = torch.utils.deterministic  # a module whose attribute is made at import
    before = torch.are_deterministic_algorithms_enabled(), mode.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    mode.fill_uninitialized_memory = False  # that is for finding errors, and costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        mode.fill_uninitialized_memory = before[1]
