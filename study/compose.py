"""The configuration each step will run with, composed before anything runs.

So that a wrong override is refused at once, and the plan can count what will be asked.
"""

from typing import TYPE_CHECKING, Any

from study.plan import Step
from tacit.errors import ConfigError

if TYPE_CHECKING:
    from docgen.config import DocgenConfig
    from eval.config import EvalConfig
    from finetune.config import FinetuneConfig

NAMES = {"corpus": "docgen", "adapter": "finetune", "eval": "eval"}


def composed(name: str, overrides: list[str]) -> Any:
    """Return `conf/<name>.yaml` with overrides, inside a verb's own Hydra or without one."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    if GlobalHydra.instance().is_initialized():
        return compose(name, overrides)
    with initialize_config_module("conf", version_base="1.3"):
        return compose(name, overrides)


def compose_step(step: Step) -> "DocgenConfig | FinetuneConfig | EvalConfig":
    """Return the resolved configuration of one step's verb, without its universe.

    Composing a universe takes half a second; `load_universe` has it anyway.

    Raises:
        ConfigError: an override names no option, or has a value of the wrong type.
    """
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    store = ConfigStore.instance()
    for kind, schema in _schemas().items():
        store.store(name=f"{NAMES[kind]}_schema", node=schema)
    wanted = [one for one in step.overrides if not one.startswith("universe=")]
    if step.kind != "adapter":
        wanted.append("~universe")
    try:
        found = composed(NAMES[step.kind], wanted)
        if step.kind != "adapter":
            OmegaConf.update(found, "universe", {}, force_add=True)
        resolved: Any = OmegaConf.to_object(found)
    except (HydraException, OmegaConfBaseException) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"the overrides of {step.id} do not fit `python -m {step.words[2]}`: {first}"
        ) from None
    return resolved  # type: ignore[no-any-return]  # one of the three schemas


def _schemas() -> dict[str, type]:
    from docgen.config import DocgenConfig
    from eval.config import EvalConfig
    from finetune.config import FinetuneConfig

    return {"corpus": DocgenConfig, "adapter": FinetuneConfig, "eval": EvalConfig}
