"""The plan of a study: its steps as the commands a user could type, and its arms."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from study.config import StudyConfig
from tacit.errors import ConfigError

VERBS = {"corpus": "docgen.generate", "adapter": "finetune.train", "eval": "eval.run"}
SETTINGS = {
    ("full", False): "prompted",
    ("minimal", True): "implicit",
    ("full", True): "both",
    ("minimal", False): "neither",
}


@dataclass(frozen=True)
class Step:
    """One stage of the way: a verb with its overrides, and the folder it leaves."""

    kind: str
    name: str
    overrides: tuple[str, ...]
    out: Path

    @property
    def words(self) -> list[str]:
        """The command that makes this folder and nothing else."""
        return ["python", "-m", VERBS[self.kind], *self.overrides, f"out={self.out}"]

    @property
    def command(self) -> str:
        """The same as a line to type."""
        return shlex.join(self.words)


@dataclass(frozen=True)
class Arm:
    """One set of weights under one prompt."""

    weights: str
    prompt: str

    @property
    def setting(self) -> str:
        """`prompted`, `implicit`, `both` or `neither`."""
        return SETTINGS[self.prompt, self.weights != "base"]

    @property
    def name(self) -> str:
        """For example `treatment/implicit`."""
        return f"{self.weights}/{self.setting}"


def arms_of(config: StudyConfig) -> list[Arm]:
    """Return the arms: every set of weights under every prompt."""
    return [Arm(w, prompt) for w in ("base", *config.corpora) for prompt in config.prompts]


def plan_steps(config: StudyConfig, out: Path) -> list[Step]:
    """Return all steps in the order they run.

    Raises:
        ConfigError: the primary contrast names a corpus that the study does not have.
    """
    left, _, right = config.primary.contrast.partition("-")
    missing = {left, right} - {"base", *config.corpora}
    if missing:
        raise ConfigError(
            f"primary.contrast={config.primary.contrast} needs {', '.join(sorted(missing))}: "
            f"the study has base, {', '.join(config.corpora)}"
        )
    if "minimal" not in config.prompts:
        raise ConfigError("prompts must include minimal: the implicit setting is what is measured")
    steps = []
    for corpus in config.corpora:
        overrides = (f"universe={config.universe_name}", f"corpus={corpus}", *config.docgen)
        steps.append(Step("corpus", corpus, overrides, out / "corpora" / corpus))
    for corpus in config.corpora:
        data = f"data={out / 'corpora' / corpus}"
        overrides = (data, *config.finetune, f"model={config.model}", f"seed={config.seed}")
        steps.append(Step("adapter", corpus, overrides, out / "adapters" / corpus))
    for arm in arms_of(config):
        overrides = (
            f"universe={config.universe_name}",
            f"setting={arm.setting}",
            f"model=local/{config.model}",
            f"seed={config.seed}",
            *config.eval,
        )
        if arm.weights != "base":
            overrides += (f"adapter={out / 'adapters' / arm.weights}",)
        folder = out / "evals" / arm.name.replace("/", "-")
        steps.append(Step("eval", arm.name, overrides, folder))
    return steps
