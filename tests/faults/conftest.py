"""What every fault is counted by: the table of `make faults` is made of these lines."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Tally = Callable[..., None]


@pytest.fixture
def tally() -> Tally:
    """Count faults: how often injected, and what was lost, doubled or executed because of them.

    Any of the three fails the test, after it was counted.
    """

    def count(
        fault: str, injected: int = 1, lost: int = 0, doubled: int = 0, executed: int = 0
    ) -> None:
        assert injected > 0, f"{fault}: nothing was injected, so nothing was tested"
        row = {
            "fault": fault, "injected": injected, "lost": lost, "doubled": doubled,
            "executed": executed,
        }  # fmt: skip
        if target := os.environ.get("TACIT_FAULTS_RECORD"):
            with Path(target).open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(row) + "\n")
        assert (lost, doubled, executed) == (0, 0, 0), row

    return count
