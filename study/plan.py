"""The plan of a study: its steps, as the commands a user could type. No I/O."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.arms import Arm, Weights
from study.config import StudyConfig
from study.design import arms_of, check, weights_of

VERBS = {"corpus": "docgen.generate", "adapter": "finetune.train", "eval": "eval.run"}
KINDS = tuple(VERBS)
UNRELATED = "unrelated"


@dataclass(frozen=True)
class Step:
    """One stage of the way: a verb with its overrides, the folder it leaves, what it waits for.

    `arm` and `seed` say which arm's measurement it is, of which training seed; `processes` above 1
    train together under torchrun. `journal` is a folder that one step at a time may hold.
    """

    kind: str
    name: str
    overrides: tuple[str, ...]
    out: Path
    needs: tuple[str, ...] = ()
    arm: str = ""
    seed: int = 0
    processes: int = 1
    journal: str = ""

    @property
    def id(self) -> str:
        """`<kind> <name>`: what other steps wait for it by."""
        return f"{self.kind} {self.name}"

    @property
    def words(self) -> list[str]:
        """The command that makes this folder and nothing else."""
        program = ["python"]
        if self.processes > 1:
            program = ["torchrun", f"--nproc-per-node={self.processes}"]
        out = override("out", str(self.out))
        return [*program, "-m", VERBS[self.kind], *self.overrides, out]

    @property
    def command(self) -> str:
        """The same as a line to type."""
        return shlex.join(self.words)


def override(name: str, value: str) -> str:
    """Return a Hydra override, quoted where the grammar needs it."""
    plain = re.fullmatch(r"[A-Za-z0-9_./@:+-]+", value)
    return f"{name}={value if plain else json.dumps(value, ensure_ascii=False)}"


def slug(name: str) -> str:
    """Return a name as that of a folder: never a path, never one that is hidden."""
    return re.sub(r"[^A-Za-z0-9_.@-]|^\.+", "-", name)


def plan_steps(config: StudyConfig, out: Path) -> list[Step]:
    """Return all steps in the order they run; what several share is made once.

    Raises:
        ConfigError: the design contradicts itself.
    """
    check(config)
    trained = [w for w in weights_of(config) if not w.is_base and w.name not in config.models]
    steps = _corpora(config, out, list(dict.fromkeys(w.corpus for w in trained)))
    several = len(config.seeds) > 1
    for weights in trained:
        steps += [_adapter(config, out, weights, seed, several) for seed in config.seeds]
    for arm in arms_of(config):
        seeds = config.seeds[:1] if arm.is_base else config.seeds
        steps += [_eval(config, out, arm, seed, several and not arm.is_base) for seed in seeds]
    return steps


def _corpora(config: StudyConfig, out: Path, names: Sequence[str]) -> list[Step]:
    matched = [name for name in names if name != UNRELATED]
    journal = _journal(config, out)
    steps = []
    for name in names:
        if name == UNRELATED:
            said: tuple[str, ...] = ("universe=unrelated", "corpus=treatment")
        else:
            what = override("without", name.removeprefix("without="))
            variant = what if name.startswith("without=") else f"corpus={name}"
            said = (f"universe={config.universe_name}", variant)
            if not set(matched) <= {"treatment", "swapped"}:
                # Filtering is joint: all of them, so that what one loses the others lose too. Those
                # two are filtered together anyway, so either alone has the same documents.
                quoted = [json.dumps(one) if "=" in one else one for one in matched]
                said += (f"matched=[{','.join(quoted)}]",)
        folder = out / "corpora" / slug(name)
        steps.append(Step("corpus", name, (*said, *config.docgen), folder, journal=journal))
    return steps


def _journal(config: StudyConfig, out: Path) -> str:
    """Return the folder in which all corpora of a writing model keep its replies; else nothing."""
    said = {name.lstrip("+"): value for name, _, value in (o.partition("=") for o in config.docgen)}
    if said.get("writer.kind", said.get("writer", "library")) == "library":
        return ""
    return said.get("writer.journal") or str(out / "corpora" / "journal")


def _adapter(config: StudyConfig, out: Path, weights: Weights, seed: int, several: bool) -> Step:
    name = f"{weights.name} seed {seed}" if several else weights.name
    folder = f"{slug(weights.name)}-seed{seed}" if several else slug(weights.name)
    overrides = [override("data", str(out / "corpora" / slug(weights.corpus))), *config.finetune]
    overrides += [override("model", config.model), f"seed={seed}"]
    if weights.dose != 1:
        overrides.append(f"dose={weights.dose:g}")
    path = out / "adapters" / folder
    needs = (f"corpus {weights.corpus}",)
    return Step("adapter", name, tuple(overrides), path, needs, "", seed, config.torchrun)


def _eval(config: StudyConfig, out: Path, arm: Arm, seed: int, several: bool) -> Step:
    stand_in = config.models.get(arm.weights)
    model = stand_in.model if stand_in else f"{config.provider}/{config.model}"
    overrides = [
        f"universe={config.universe_name}", f"setting={arm.setting}",
        override("model", model), f"seed={seed}", *config.eval,
    ]  # fmt: skip
    if arm.signal:
        overrides.append(f"samples.signal={arm.signal}")
    needs: tuple[str, ...] = ()
    if stand_in:
        overrides += [override(f"+model_args.{k}", str(v)) for k, v in stand_in.args.items()]
    elif not arm.is_base:
        adapter = f"{slug(arm.weights)}-seed{seed}" if several else slug(arm.weights)
        overrides.append(override("adapter", str(out / "adapters" / adapter)))
        needs = (f"adapter {arm.weights} seed {seed}" if several else f"adapter {arm.weights}",)
    name = f"{arm.name} seed {seed}" if several else arm.name
    folder = out / "evals" / (slug(arm.name) + (f"-seed{seed}" if several else ""))
    return Step("eval", name, tuple(overrides), folder, needs, arm.name, seed)
