"""The command that makes a study again: its experiment, and what it changes of that."""

import json
import re
import shlex
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from study.config import RESULT_BLIND, StudyConfig


def shipped() -> list[str]:
    """Return the names of the shipped experiments."""
    folder = files("conf") / "experiment"
    return sorted(p.name[:-5] for p in folder.iterdir() if p.name.endswith(".yaml"))


def experiment_of(name: str) -> StudyConfig:
    """Return the design of a shipped experiment, as its file has it."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from study.compose import composed

    ConfigStore.instance().store(name="study_schema", node=StudyConfig)
    config = OmegaConf.to_object(composed("study", [f"+experiment={name}"]))
    assert isinstance(config, StudyConfig)
    return config


def command_of(config: StudyConfig, folder: Path) -> str:
    """Return the line that runs this design in this folder.

    Of an experiment that is not shipped it names the experiment alone: its file is its author's.
    What changes no result (`workers`, `reuse`, …) is left out.
    """
    name = str(config.experiment)
    words = ["python", "-m", "study.run", f"+experiment={name}"]
    if name in shipped():
        own, theirs = asdict(config), asdict(experiment_of(name))
        changed = [k for k in own if k not in RESULT_BLIND and own[k] != theirs[k]]
        # Hydra takes new names into a mapping only where it is told to.
        words += [f"{'++' * isinstance(own[k], dict)}{k}={_value(own[k])}" for k in changed]
    if folder != Path("outputs", name):
        words.append(f"out={_value(str(folder))}")
    return shlex.join(words)


def _value(value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_value(v) for v in value) + "]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_/][A-Za-z0-9_./-]*", value):
        return value
    return json.dumps(value, ensure_ascii=False)
