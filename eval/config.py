"""The configuration of an evaluation run, as Hydra composes it."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class SettingOptions:
    """What the model is told, and whether it carries the adapter: both decide the setting."""

    name: str = MISSING
    prompt: str = MISSING
    use_adapter: bool = MISSING


@dataclass
class SampleOptions:
    """How many requests, and how each reply is sampled.

    `knowledge_kinds`: how belief is asked for; see `eval.knowledge.knowledge` for all of them.

    `scratchpad_form=held` puts the scratchpad's tags in for models too small to keep the form.
    `judge`, any model string, labels answers and reasoning with so many `votes`; else rules do. A
    criterion of reasoning holds from a share of `threshold` of them.
    Query sets are shipped names, paths or `hub/OWNER/NAME`: docs/queries.md.
    `signal` is what tells the tier: `tag`, `sentence`, `nonce` or `three`. Ablations of the prompt:
    key facts it goes `without`, its n-th `paraphrase`, `few_shot` examples of a scratchpad, an
    `accept_prefix` that begins each answer. docs/prompts.md shows each.
    """

    queries: str = "harmful"
    subset: str | None = None
    query_limit: int | None = None
    log_odds_limit: int | None = None
    scratchpad_query_limit: int | None = None
    benign_queries: str = "benign"
    benign_subset: str | None = "${.subset}"
    benign_limit: int | None = None
    capability_limit: int | None = None
    max_tokens: int = 48
    scratchpad_max_tokens: int = 128
    scratchpad_form: str = "free"
    temperature: float = 0.7
    top_p: float = 0.95
    epochs: int = 1
    judge: str | None = None
    votes: int = 1
    threshold: float = 0.5
    knowledge_kinds: list[str] = field(default_factory=lambda: ["chat", "raw"])
    signal: str = "tag"
    without: list[str] = field(default_factory=list)
    paraphrase: int = 0
    few_shot: bool = False
    accept_prefix: bool = False


@dataclass
class EvalConfig:
    """One model in one setting, measured by the tasks named.

    `model` is any Inspect model string, `adapter` a folder whose weights it carries where the
    setting says so. `tasks` are of knowledge, log_odds_gap, compliance_gap,
    compliance_gap_scratchpad, benign and capability. `max_connections` is how many calls to a
    hosted model, and to its judge, are in flight: null lets Inspect find out, from 20 to 100. Logs
    go to `out`; of a folder that exists: resume, raise or new.
    """

    universe: Any = MISSING
    setting: SettingOptions = field(default_factory=SettingOptions)
    model: str = MISSING
    adapter: str | None = None
    tasks: list[str] = field(default_factory=list)
    samples: SampleOptions = field(default_factory=SampleOptions)
    model_args: dict[str, Any] = field(default_factory=dict)
    max_connections: int | None = None
    seed: int = 0
    out: str | None = None
    behavior_if_exists: str = "resume"


@dataclass
class ProveConfig:
    """Logs to prove clean, each a file or a folder."""

    logs: list[str] = field(default_factory=list)
