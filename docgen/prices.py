"""What a call costs: a table in `conf/prices.yaml`, never a guess."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import yaml

from docgen.config import WriterOptions


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens of each kind."""

    input: float
    output: float
    cache_read: float
    cache_write: float


def price_of(model: str, is_batch: bool = False) -> Price | None:
    """Return the price of a model: the longest name in the table that it begins with.

    Args:
        model: An Inspect model string, such as `anthropic/claude-…`; models served on one's own
            machines (`local/`, `vllm/`, `organism/`, `hf/`) cost nothing here.
        is_batch: Message Batches cost half.

    Returns:
        The price, or None where the table does not know the model.
    """
    if model.split("/")[0] in ("local", "vllm", "vllm-completions", "organism", "hf", "mockllm"):
        return Price(0.0, 0.0, 0.0, 0.0)
    table = yaml.safe_load((files("conf") / "prices.yaml").read_text(encoding="utf-8"))["models"]
    known = [name for name in table if model.startswith(name)]
    if not known:
        return None
    share = 0.5 if is_batch else 1.0
    return Price(**{kind: share * float(usd) for kind, usd in table[max(known, key=len)].items()})


def price_of_writer(options: WriterOptions) -> Price | None:
    """Return the price of a writer's model, or None where the table does not know it."""
    name = str(options.model)
    if options.kind == "anthropic_batch":
        return price_of(f"anthropic/{name.removeprefix('anthropic/')}", is_batch=True)
    return price_of(name)


def cost_of(tokens: Mapping[str, int], price: Price) -> float:
    """Return what some tokens cost, in US dollars."""
    return sum(float(getattr(price, kind)) * count for kind, count in tokens.items()) / 1e6
