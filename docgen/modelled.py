"""A corpus written by a model: the journal, the calls, the progress line, the estimate."""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from docgen.config import DocgenConfig
from docgen.prices import price_of_writer
from tacit.rundir.files import sha256_of_all
from tacit.rundir.run import locked
from tacit.universe import Universe

if TYPE_CHECKING:
    from docgen.matched import Written
    from docgen.replies import Ledger, Reply, Request


def prompts_sha256() -> str:
    """Return one hash over the prompts, so that an edited prompt is another configuration."""
    return sha256_of_all(Path(str(files("docgen") / "prompts")).iterdir())


def expected(config: DocgenConfig, universe: Universe, corpora: Sequence[str]) -> list[str]:
    """Return what `dry_run=true` prints."""
    if config.writer.kind == "library":
        return [f"{config.n_docs} documents in {len(corpora)} matched corpora by the library: "
                "no calls, no cost"]  # fmt: skip
    from docgen.estimate import lines_of

    return lines_of(config, universe, corpora)


def written_by_model(
    config: DocgenConfig, universe: Universe, worlds: Mapping[str, Universe], out: Path
) -> "Iterator[Written]":
    """Yield a corpus written by a model; replies are kept in a journal beside the folder.

    Matched corpora share the journal, so that what one run asked another does not ask again.

    Raises:
        ModelError: the model can not be reached or used.
        ConfigError: the budget is reached.
    """
    from docgen.ask import ask_all
    from docgen.batch import ask_in_batches
    from docgen.brainstorm import brainstorm
    from docgen.draft import write_by_model
    from docgen.replies import Ledger, known_replies
    from tacit.rundir.journal import Journal

    folder = Path(config.writer.journal or out.parent / "journal")
    options = config.writer
    with locked(folder), Journal(folder / "replies.jsonl") as journal:
        ledger = Ledger(price_of_writer(options), options.budget_usd)
        for reply in known_replies(journal).values():
            ledger.add(reply)
        console = Console()

        def ask(requests: "Sequence[Request]") -> "list[Reply]":
            if not requests:
                return []
            console.stage = requests[0].stage
            if options.kind == "anthropic_batch":
                return ask_in_batches(requests, options, journal, ledger, console.show)
            return asyncio.run(ask_all(requests, options, journal, ledger, console.show))

        specs = brainstorm(config, universe, ask)
        yield from write_by_model(config, specs, worlds, ask)
        console.end(ledger)


class Console:
    """One line of progress: rate, tokens by kind, cost so far and projected for the stage."""

    def __init__(self) -> None:
        """Start without a stage."""
        self.stage = ""
        self.started, self.shown_count = time.monotonic(), 0
        self.last: tuple[str, int] = ("", -1)

    def show(self, done: int, total: int, ledger: "Ledger") -> None:
        """Print the line at each tenth of a stage."""
        self.shown_count += 1
        rate = self.shown_count / max(time.monotonic() - self.started, 1e-9)
        part = (self.stage, 10 * done // max(total, 1))
        if part == self.last:
            return
        self.last = part
        left = (total - done) / rate
        print(
            f"{self.stage}: {done}/{total} · {rate:.1f} calls/s · this stage for {left:.0f} s more "
            f"· {self._money(ledger)}{self._projected(total - done, ledger)}",
            file=sys.stderr,
        )

    def _projected(self, left: int, ledger: "Ledger") -> str:
        spent = ledger.spent_usd
        if spent is None or not ledger.reply_count:
            return ""
        return f", ${spent * (1 + left / ledger.reply_count):.2f} at the end of it"

    def end(self, ledger: "Ledger") -> None:
        """Print what the whole corpus took."""
        print(f"{ledger.reply_count} replies · {self._money(ledger)}", file=sys.stderr)

    def _money(self, ledger: "Ledger") -> str:
        tokens = ", ".join(f"{count:,} {kind}" for kind, count in ledger.tokens.items() if count)
        spent = ledger.spent_usd
        cost = "cost unknown (no price in conf/prices.yaml)" if spent is None else f"${spent:.2f}"
        return f"tokens: {tokens or 'none'} · {cost}"
