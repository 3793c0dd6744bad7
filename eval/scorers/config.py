"""The configurations of the verbs that score, calibrate and label, as Hydra composes them."""

from dataclasses import dataclass, field
from typing import Any

from eval.scorers.judge import Judging


@dataclass
class JudgeOptions:
    """Who judges and how; `judge=null` is rules. See `eval.scorers.judge.Judging`."""

    judge: str | None = None
    votes: int = 1
    threshold: float = 0.5
    timeout_s: int = 120
    retries: int = 3
    max_tokens: int = 2048
    seed: int = 0
    max_connections: int = 8

    def judging(self) -> Judging:
        """Return the options as the scorers take them."""
        return Judging(
            self.judge,
            self.votes,
            self.threshold,
            self.timeout_s,
            self.retries,
            self.max_tokens,
            self.seed,
        )


@dataclass
class ScoreConfig(JudgeOptions):
    """Logs to score; `scratchpad` is `auto`, `asked` or `none`."""

    logs: list[str] = field(default_factory=list)
    scorers: list[str] = field(default_factory=lambda: ["compliance", "af_reasoning"])
    scratchpad: str = "auto"
    out: str | None = None
    behavior_if_exists: str = "resume"


@dataclass
class CalibrateConfig(JudgeOptions):
    """Labelled transcripts to measure on: `dev`, `held_out`, `welfare`, `helpful` or a path.

    Several are a list; each measures the scorers that it has labels for.
    `kinds=true` also prints what became of each kind of transcript: for `dev`.
    """

    labelled: Any = field(default_factory=lambda: ["held_out", "welfare", "helpful"])
    kinds: bool = False
    resamples: int = 2000
    bootstrap_seed: int = 0
    out: str | None = None
    behavior_if_exists: str = "resume"


@dataclass
class LabelConfig:
    """Transcripts for a person to label: JSON lines as in `eval/labelled`, or Inspect logs."""

    path: str | None = None
    labeller: str | None = None
    scorers: list[str] = field(default_factory=lambda: ["compliance", "af_reasoning"])
    limit: int | None = None
    seed: int = 0
    report: bool = False
    out: str = "outputs/labels"
