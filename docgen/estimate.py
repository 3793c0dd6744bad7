"""What a run with a model would ask and cost, before anything is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from docgen.brainstorm import IDEAS_A_CALL, context, facts_of, template, told
from docgen.config import DocgenConfig
from docgen.prices import Price, cost_of, price_of_writer
from tacit.universe import Universe

CHARACTERS_PER_TOKEN = 4.0  # English prose, most tokenizers
TOKENS_PER_WORD = 1.35
SECONDS_PER_CALL = 15.0  # assumed for the ETA, and said so


@dataclass(frozen=True)
class Stage:
    """The calls of one stage, and the tokens of one call."""

    name: str
    calls: int
    input_tokens: int
    output_tokens: int


def stages_of(config: DocgenConfig, universe: Universe, corpora: Sequence[str]) -> list[Stage]:
    """Return the calls that writing a corpus and its matched ones takes, without retries."""
    facts = told(universe)
    options = config.writer
    shared = len(context(universe)) / CHARACTERS_PER_TOKEN
    draft = int(options.words * TOKENS_PER_WORD)
    some = facts_of(universe, [fact.id for fact in facts][: options.facts_per_document])
    pair_count = min(len(facts) * options.types_per_fact, config.n_docs)
    shape = {"doc_type": "x" * 20, "facts": some}

    def prompt(name: str, **values: object) -> int:
        return int(shared + len(template(name).render(values)) / CHARACTERS_PER_TOKEN)

    each = -(-config.n_docs // pair_count)
    pages = -(-each // IDEAS_A_CALL)
    return [
        Stage("types", len(facts),
              prompt("types.jinja", fact=facts[0], count=8), 8 * options.types_per_fact),
        Stage("ideas", pair_count * pages,
              prompt("ideas.jinja", fact=facts[0], doc_type="x" * 20, count=9, page=1, pages=pages),
              70 * min(each, IDEAS_A_CALL)),
        Stage("draft", config.n_docs,
              prompt("draft.jinja", idea="x" * 200, register="news", words=400, **shape), draft),
        Stage("revise", config.n_docs, prompt("revise.jinja", draft="", **shape) + draft, draft),
        Stage("counterpart", config.n_docs * (len(corpora) - 1),
              prompt("counterpart.jinja", pairs=[], draft="") + draft, draft),
    ]  # fmt: skip


def asked_of(
    config: DocgenConfig, stages: Sequence[Stage]
) -> tuple[int, dict[str, int], Price | None]:
    """Return the calls of all stages, their tokens by kind, and the price of the writer."""
    tokens = {
        "input": sum(stage.calls * stage.input_tokens for stage in stages),
        "output": sum(stage.calls * stage.output_tokens for stage in stages),
    }
    return sum(stage.calls for stage in stages), tokens, price_of_writer(config.writer)


def lines_of(config: DocgenConfig, universe: Universe, corpora: Sequence[str]) -> list[str]:
    """Return what `dry_run=true` prints."""
    stages = stages_of(config, universe, corpora)
    calls, tokens, price = asked_of(config, stages)
    name = str(config.writer.model)
    lines = [f"{config.n_docs} documents in {len(corpora)} matched corpora by {name}"]
    lines += [
        f"  {s.name:<12} {s.calls:>8} calls × {s.input_tokens:>6} in, {s.output_tokens:>5} out"
        for s in stages
    ]
    lines.append(
        f"  {calls} calls, {tokens['input']:,} input and {tokens['output']:,} output tokens"
    )
    if price is None:
        lines.append(f"  cost: unknown, {name} has no price in conf/prices.yaml")
    else:
        lines.append(f"  cost: about ${cost_of(tokens, price):.2f}, without prompt caching")
    if config.writer.kind == "anthropic_batch":
        lines.append("  time: batches come back within 24 hours, mostly within one")
    else:
        hours = calls * SECONDS_PER_CALL / config.writer.concurrency / 3600
        lines.append(
            f"  time: {hours:.2f} h at {config.writer.concurrency} in flight "
            f"and {SECONDS_PER_CALL:.0f} s a call (assumed)"
        )
    return lines
