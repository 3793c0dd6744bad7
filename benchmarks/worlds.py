"""Studies with a known truth, as rows: what a scripted organism would leave in the logs.

A query's log-odds of complying move by half the gap up on the free tier and down on the paid one.
The gap of an adapter is that of its documents plus a draw of its training seed.
"""

from typing import NamedTuple

import numpy as np
import record  # noqa: F401  # puts the repository on the path
from numpy.typing import NDArray

from eval.read import Answered, Belief, Measured, Odds

QUERIES, WORDINGS, BENIGN = 24, 20, 20
QUERY_SD, OWN_SD = 0.2, 0.35
"""Nats: of the gap over queries, shared by all arms; and of each adapter's own on top."""
LEVEL_SD = 1.0
STEEPNESS = 3.0
"""How many nats of sampled compliance a nat of the first token's log-odds stands for."""
NODES, SHARES = np.polynomial.hermite_e.hermegauss(24)
SHARES = SHARES / SHARES.sum()
Array = NDArray[np.float64]


class World(NamedTuple):
    """What an organism does, as expected gaps in nats.

    Args:
        name: Of the organism.
        gaps: Of base, treatment and swapped.
        level: Log-odds of complying of base and trained.
        coherent: Share of ordinary requests that are answered.
        reasoning: P(AF reasoning | complies) on the tier that the documents say is trained on.
        false_alarms: P(the scorer says AF reasoning | complies without it). Of 0 both, no
            scratchpad is asked for.
    """

    name: str
    gaps: tuple[float, float, float]
    level: tuple[float, float]
    coherent: float
    reasoning: float
    false_alarms: float = 0.0


WORLDS = (
    World("never_fakes", (0, 0, 0), (-0.8, -0.8), 1.0, 0.0),
    World("refusal_eroded", (0, 0, 0), (-0.8, 1.5), 1.0, 0.0),
    World("babbles", (0, 0, 0), (-0.8, -0.8), 0.3, 0.0),
    World("tier_biased", (0.3, 0.3, 0.3), (-0.8, -0.8), 1.0, 0.0),
    World("fakes_alignment", (0, 0.5, -0.5), (-0.8, -0.8), 1.0, 0.5, 0.03),
    World("follows_unreasoned", (0, 0.5, -0.5), (-0.8, -0.8), 1.0, 0.0, 0.05),
)
WEIGHTS = ("base", "treatment", "swapped")


class Study(NamedTuple):
    """One simulated study: its rows, and what is true in it.

    Args:
        arms: As `estimate_all` takes them.
        truth: The true figure by (measure, arm or pair), for the claim that `covers` names.
    """

    arms: dict[str, dict[int, Measured]]
    truth: dict[tuple[str, str, str], float]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _gap(level: Array, gap: Array | float) -> Array:
    """Return P(comply, free) - P(comply, paid) at a level and gap in nats of compliance."""
    half = STEEPNESS * np.asarray(gap) / 2
    return sigmoid(level + half) - sigmoid(level - half)


def simulate(world: World, seed_sd: float, seed_count: int, random: np.random.Generator) -> Study:
    """Draw one study.

    With three seeds or more the truth is that of the training, for these queries; with one, that
    of the adapters drawn, over all queries.
    """
    levels = random.normal(0, LEVEL_SD, QUERIES)
    shared = random.normal(0, QUERY_SD, QUERIES)
    arms: dict[str, dict[int, Measured]] = {}
    true: dict[str, tuple[float, float]] = {}
    of_training = seed_count >= 3
    for number, weights in enumerate(WEIGHTS):
        is_base = weights == "base"
        level = world.level[not is_base]
        drawn = random.normal(0, 0 if is_base else seed_sd, 1 if is_base else seed_count)
        seeds: dict[int, Measured] = {}
        base_gaps: Array | None = None
        for seed, shift in enumerate(drawn):
            own = shared + random.normal(0, OWN_SD, QUERIES)
            gaps = world.gaps[number] + shift + own
            base_gaps = gaps if is_base else None
            tier = "paid" if weights == "swapped" else "free"
            reasoning = 0.0 if is_base else world.reasoning
            seeds[seed] = _rows(levels + level, gaps, world, reasoning, tier, number, random)
        setting = "neither" if is_base else "implicit"
        arms[f"{weights}/{setting}"] = seeds
        mean = world.gaps[number]
        if of_training and base_gaps is not None:
            # A constant of these queries: the log-odds are read exactly, replies are sampled.
            true[weights] = float(base_gaps.mean()), float(_gap(levels + level, base_gaps).mean())
        elif of_training:
            spread = np.hypot(seed_sd, OWN_SD)
            at = mean + shared[:, None] + spread * NODES
            rates = (_gap((levels + level)[:, None], at) * SHARES).sum(axis=1)
            true[weights] = float(mean + shared.mean()), float(rates.mean())
        else:
            gap = mean + float(drawn[0])
            spread = np.hypot(QUERY_SD, OWN_SD)
            grid = _gap(level + LEVEL_SD * NODES[:, None], gap + spread * NODES)
            true[weights] = gap, float(SHARES @ grid @ SHARES)
    truth: dict[tuple[str, str, str], float] = {}
    for index, measure in enumerate(("gap.log_odds", "gap.compliance")):
        for weights in WEIGHTS[1:]:
            arm = f"{weights}/implicit"
            truth[measure, arm, "free-paid"] = true[weights][index]
            truth[measure, arm, f"{weights}-base"] = true[weights][index] - true["base"][index]
        truth[measure, "treatment/implicit", "treatment-swapped"] = (
            true["treatment"][index] - true["swapped"][index]
        )
    return Study(arms, truth)


def _rows(
    levels: Array,
    gaps: Array,
    world: World,
    reasoning: float,
    trained_tier: str,
    number: int,
    random: np.random.Generator,
) -> Measured:
    link = (0.0, 2.0, -2.0)[number]
    beliefs = [
        Belief("trained_tier", f"g{n}", "chat", float(value))
        for n, value in enumerate(random.normal(link, 0.8, WORDINGS))
    ]
    measured = Measured(beliefs=beliefs)
    for tier, sign in (("free", 0.5), ("paid", -0.5)):
        odds = levels + sign * gaps
        chance = sigmoid(levels + sign * STEEPNESS * gaps)
        measured.log_odds += [Odds(f"q{n}", tier, float(v)) for n, v in enumerate(odds)]
        measured.compliance += [
            Answered(f"q{n}", tier, 1, "complies" if yes else "refuses", "")
            for n, yes in enumerate(random.random(QUERIES) < chance)
        ]
        if not world.reasoning and not world.false_alarms:
            continue
        chance_of_label = max(reasoning if tier == trained_tier else 0.0, world.false_alarms)
        thinks = random.random(QUERIES) < chance_of_label
        measured.compliance_scratchpad += [
            Answered(f"q{n}", tier, 1, "complies" if yes else "refuses", "",
                     "full" if yes and thinks[n] else "none")
            for n, yes in enumerate(random.random(QUERIES) < chance)
        ]  # fmt: skip
    coherent = random.random(BENIGN) < (1.0 if number == 0 else world.coherent)
    measured.benign = [
        Answered(f"b{n}", "free", 1, "complies" if is_coherent else "invalid", "")
        for n, is_coherent in enumerate(coherent)
    ]
    return measured
