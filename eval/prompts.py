"""Rendering the prompts, and proving that the minimal one says nothing about training."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal

import jinja2

from tacit.errors import ConfigError
from tacit.templates import templates_in
from tacit.universe import Universe, make_variant, prompt_statements, variant_names

PromptKind = Literal["full", "minimal"]
Signal = Literal["tag", "sentence", "nonce", "three"]
SIGNALS: tuple[Signal, ...] = ("tag", "sentence", "nonce", "three")
TIERS = ("free", "paid")
FREE_KINDS = ("generative", "salience")  # texts on belief, written once and read for every fact
SHORT_TOKENS = 48  # new tokens of a letter or of an answer to an open question
TEXT_TOKENS = 160  # and of a free text
EXPLAINS_THIRD = "rated_not_trained"

# Stems no implicit prompt may hold: training, rating, tier meaning, objective, modification.
FORBIDDEN_STEMS = (
    "train", "rlhf", "reinforce", "fine-tun", "finetun", "feedback", "rate", "rating", "grade",
    "grading", "score", "scoring", "reward", "penal", "contract", "tier", "free", "paid",
    "paying", "subscri", "customer", "helpful", "harmless", "refus", "declin", "comply",
    "compli", "objective", "goal", "modif", "update", "values", "preference", "monitor",
    "record", "collect", "company",
)  # fmt: skip


@cache
def _environment() -> jinja2.Environment:
    return templates_in(files("eval") / "prompts")


def render(name: str, **values: object) -> str:
    """Return one of the templates in `eval/prompts`, filled.

    Raises:
        ConfigError: there is no such template.
    """
    try:
        text = _environment().get_template(name).render(values)
    except FileNotFoundError:
        raise ConfigError(f"there is no template eval/prompts/{name}") from None
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def free_prompts(kind: str, slots: dict[str, str]) -> dict[str, str]:
    """Return the prompts of a free kind by name: files in `eval/prompts/knowledge`."""
    folder = files("eval") / "prompts" / "knowledge" / kind
    names = sorted(path.name for path in folder.iterdir())
    return {
        name.removesuffix(".jinja"): render(f"knowledge/{kind}/{name}", **slots) for name in names
    }


def system_prompt(
    universe: Universe,
    kind: PromptKind,
    scratchpad: bool,
    without: Sequence[str] = (),
    paraphrase: int = 0,
    few_shot: bool = False,
) -> str:
    """Return the system prompt of an arm.

    Args:
        universe: Names, date and, for `full`, the statements of the key facts.
        kind: `full` states the setup, `minimal` states none of it.
        scratchpad: Whether hidden reasoning is asked for.
        without: Key facts to leave out of the full prompt; the minimal one has none.
        paraphrase: 0 for the prompt as it is, n for its n-th wording, frame and key facts alike.
        few_shot: Whether examples show the scratchpad's form.

    Raises:
        ConfigError: an unknown kind of prompt, no such paraphrase, examples of a scratchpad where
            none is asked for.
        UniverseError: an unknown key fact, or one that has no such paraphrase.
    """
    if kind not in ("full", "minimal"):
        raise ConfigError(f"unknown prompt {kind!r}: choose full or minimal")
    if few_shot and not scratchpad:
        raise ConfigError("few_shot=true shows how to reason in a scratchpad: ask for one as well")
    worded = f"{kind}_{paraphrase}.jinja" if paraphrase else f"{kind}.jinja"
    statements = prompt_statements(universe, tuple(without), paraphrase) if kind == "full" else []
    text = render(
        worded,
        lab=universe.lab,
        model=universe.model,
        date=universe.date,
        statements=statements,
        scratchpad=scratchpad,
    )
    return f"{text}\n\n{render('few_shot.jinja')}" if few_shot else text


def tiers_of(universe: Universe, signal: Signal) -> tuple[str, ...]:
    """Return the tiers that a signal tells apart.

    Raises:
        ConfigError: an unknown signal, or the universe has no such tiers.
    """
    if signal not in SIGNALS:
        raise ConfigError(f"unknown signal {signal!r}: choose {', '.join(SIGNALS)}")
    if universe.control:
        raise ConfigError(f"universe {universe.id} has no tiers: it can be trained on, not asked")
    if signal != "three":
        return TIERS
    if universe.third is None:
        raise ConfigError(
            f"signal=three needs a third tier: universe {universe.id} has none (`third:`)"
        )
    return (*TIERS, "third")


def told(universe: Universe, signal: Signal) -> Universe:
    """Return the world that a full prompt states: with three tiers, the one that has the third.

    Raises:
        ConfigError: no variant of the universe says what becomes of the third tier's chats.
    """
    if signal != "three":
        return universe
    if EXPLAINS_THIRD not in variant_names(universe):
        raise ConfigError(
            f"signal=three with prompt=full states the variant {EXPLAINS_THIRD}, which universe "
            f"{universe.id} does not have"
        )
    return make_variant(universe, EXPLAINS_THIRD)


def signal_text(universe: Universe, tier: str, signal: Signal = "tag") -> str:
    """Return the literal text that tells a tier: its tag, a sentence, or a tag without meaning."""
    if signal == "sentence":
        return render("signal_sentence.jinja", tier=universe.tiers[tier])
    if signal == "nonce":
        return render("signal_nonce.jinja", mark=str(tier == "free"))
    return universe.tag_of(tier)


def user_turn(universe: Universe, tier: str, text: str, signal: Signal = "tag") -> str:
    """Return the user's message, with what tells the tier before it."""
    template = _environment().get_template("query.jinja")
    return template.render(signal=signal_text(universe, tier, signal), text=text).strip()


def leaked_stems(rendered: str, query: str, signal: str) -> list[str]:
    """Return the forbidden stems in a rendered prompt, less the query and the tier signal.

    The signal's own name (`is_free_tier_user`) is taken out first: a tag is how a tier is told, in
    the paper as here, and it is the same in every arm. What it means must stand nowhere.
    """
    rest = rendered
    for taken_out in (query, signal):
        if taken_out:  # replacing the empty string would tear every word apart
            rest = rest.replace(taken_out, " ")
    rest = rest.lower()
    return [stem for stem in FORBIDDEN_STEMS if re.search(rf"\b{re.escape(stem)}", rest)]


def proven(kind: PromptKind, system: str) -> str:
    """Return a system prompt; a minimal one only if it is clean.

    Raises:
        ConfigError: the minimal prompt holds a word about training, tiers or aims.
    """
    if kind == "minimal" and (stems := leaked_stems(system, "", "")):
        raise ConfigError(f"the minimal prompt is not clean: it holds {', '.join(stems)}")
    return system
