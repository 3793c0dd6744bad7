import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from study.again import command_of, experiment_of
from study.config import Primary, StandIn, StudyConfig

HERE = Path("outputs/turn")


def composed(words):
    """The configuration that a printed command gives, without its folder."""
    with initialize_config_module("conf", version_base="1.3"):
        return OmegaConf.to_object(compose("study", [w for w in words if not w.startswith("out=")]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"finetune": ["preset=laptop", "optim.learning_rate=2.0e-3"], "seeds": [0, 7]},
        {"eval": ['tasks=["compliance_gap","benign"]', "samples.epochs=2"]},
        {"models": {"swapped": StandIn("local/x", {"adapter": "outputs/a b/paid", "rate": 0.5})}},
        {"primary": Primary("gap.compliance", "swapped-base"), "calibration": "mine's.json"},
        {"secondary": [], "corpora": ["treatment@0.3", "without=tag_trained"]},
        {"universe_name": "animal_welfare", "model": "organism: not a name", "doses": [0.1, 1.0]},
    ],
)
def test_the_command_of_a_design_composes_to_that_design(changes):
    config = experiment_of("turn")
    for name, value in changes.items():
        setattr(config, name, value)
    words = shlex.split(command_of(config, HERE))
    assert words[:3] == ["python", "-m", "study.run"]
    assert len(words) == 4 + len(changes)  # the experiment, and nothing that it says itself
    assert composed(words[3:]) == config


def test_a_folder_of_its_own_is_named_and_what_changes_no_result_is_not():
    config = experiment_of("turn")
    config.workers, config.reuse = 7, ["outputs/helpful_only"]
    said = command_of(config, Path("outputs/another one"))
    assert said == "python -m study.run +experiment=turn 'out=\"outputs/another one\"'"
    own = StudyConfig(experiment="of_my_own", seeds=[3])
    assert command_of(own, Path("outputs/of_my_own")).endswith("+experiment=of_my_own")
