"""The model card of an adapter, by PEFT's convention: `README.md` in its folder."""

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from finetune.config import FinetuneConfig
from finetune.sources import Source
from tacit.rundir import write_atomic


def write_card(
    folder: Path, config: FinetuneConfig, sources: list[Source], figures: dict[str, Any]
) -> None:
    """Write the card from the configuration and what was counted."""
    template = Environment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    ).from_string((files("finetune") / "card.jinja").read_text(encoding="utf-8"))
    card = template.render(
        name=folder.name,
        base=config.model,
        peft_version=version("peft"),
        rank=config.lora.rank,
        corpus=sources[0].path.name,
        sha256=sources[0].sha256,
        dose=config.dose,
        seed=config.seed,
        learning_rate=config.optim.learning_rate,
        figures=figures,
        has_curve=(folder / "belief.jsonl").is_file(),
    )
    write_atomic(folder / "README.md", card)
