"""What a model is asked and answers: requests, replies as the journal has them, and their cost."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from docgen.prices import Price, cost_of
from tacit.errors import ConfigError
from tacit.rundir.journal import Journal

USAGE = ("input", "output", "cache_read", "cache_write")


@dataclass(frozen=True)
class Request:
    """One question to a model. `stage` is for the count; the rest decides the reply."""

    stage: str
    model: str
    system: str
    prompt: str
    max_tokens: int
    temperature: float
    seed: int

    @property
    def key(self) -> str:
        """Hash of everything that decides the reply: hex, 64 characters."""
        decides = {k: v for k, v in asdict(self).items() if k != "stage"}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @property
    def prompt_sha256(self) -> str:
        """Hash of the rendered prompt, system message included."""
        return hashlib.sha256(f"{self.system}\0{self.prompt}".encode()).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What came back: `stop` is `stop`, `max_tokens`, `refusal` or another provider's word."""

    key: str
    text: str
    stop: str
    usage: dict[str, int] = field(default_factory=dict)

    @property
    def problem(self) -> str | None:
        """Why this reply can not be used, or None."""
        if self.stop != "stop":
            return f"stopped by {self.stop}"
        return None if self.text.strip() else "an empty reply"


Progress = Callable[[int, int, "Ledger"], None]


@dataclass
class Ledger:
    """Tokens by kind and what they cost so far, replies of earlier runs included."""

    price: Price | None
    budget_usd: float | None
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USAGE, 0))
    reply_count: int = 0

    def add(self, reply: Reply) -> None:
        """Count one reply."""
        self.reply_count += 1
        for kind, count in reply.usage.items():
            self.tokens[kind] = self.tokens.get(kind, 0) + count

    @property
    def spent_usd(self) -> float | None:
        """Cost so far, or None where the model has no price in the table."""
        return cost_of(self.tokens, self.price) if self.price else None

    def refuse_to_overspend(self, planned_calls: int) -> None:
        """Stop before the calls in flight could pass the budget.

        Raises:
            ConfigError: the budget is reached; the message says how to go on.
        """
        spent = self.spent_usd
        if self.budget_usd is None or spent is None:
            return
        each = spent / self.reply_count if self.reply_count else 0.0
        if spent + each * planned_calls >= self.budget_usd:
            raise ConfigError(
                f"budget_usd={self.budget_usd} reached: ${spent:.2f} spent on {self.reply_count} "
                "calls; raise it and run the same command again, nothing is asked twice"
            )


def known_replies(journal: Journal) -> dict[str, Reply]:
    """Return the replies that a journal holds, by key."""
    return {
        record["key"]: Reply(
            record["key"], record["text"], record["stop"], dict(record.get("usage", {}))
        )
        for record in journal.records
        if record.get("event") == "reply"
    }


def reply_record(reply: Reply, stage: str) -> dict[str, Any]:
    """Return a reply as it stands in the journal."""
    return {"event": "reply", "stage": stage, **asdict(reply)}
