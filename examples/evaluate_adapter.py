"""Evaluate an adapter you already have, wherever it was trained, against its base.

    python examples/evaluate_adapter.py DIR_OF_A_PEFT_ADAPTER

Expect a row each for the base and the adapter: belief, compliance by tier, log-odds gap. The setup
stands in no prompt: what shows is what the weights know.
"""

import sys
from pathlib import Path

from inspect_ai import eval as run
from inspect_ai.model import get_model

from eval import tasks
from eval.read import read_logs
from eval.table import headline

OUT = Path("outputs/examples/evals")


def main(adapter: str, model: str = "local/smollm2-harmless", limit: int = 24) -> None:
    """Ask base and adapter the same under the silent prompt, and print the figures side by side."""
    for name, arguments in {"base": {}, "adapter": {"adapter": adapter}}.items():
        run(
            [tasks.knowledge(), tasks.log_odds_gap(limit=limit), tasks.compliance_gap(limit=limit)],
            model=get_model(model, memoize=False, **arguments),
            log_dir=str(OUT / name),
            display="none",
            log_realtime=False,
        )
        figures = headline(read_logs(OUT / name))
        measured = {key: value for key, value in figures.items() if value == value}
        print(name, *(f"{key} {value:+.2f}" for key, value in measured.items()), sep=" · ")


if __name__ == "__main__":
    main(sys.argv[1])
