"""The design of a study: its arms, and what was named beforehand. No I/O."""

from study.arms import NONCE, Arm, Weights
from study.config import Primary, StudyConfig
from tacit.errors import ConfigError

SETTINGS = {
    ("full", False): "prompted",
    ("minimal", True): "implicit",
    ("full", True): "both",
    ("minimal", False): "neither",
}


def weights_of(config: StudyConfig) -> list[Weights]:
    """Return all weights, the base first: each corpus at each dose, less the doses it names."""
    names = ["base"]
    for corpus in config.corpora:
        doses = [1.0] if "@" in corpus else config.doses
        names += [corpus if dose == 1 else f"{corpus}@{dose:g}" for dose in doses]
    return [Weights(name) for name in dict.fromkeys(names)]


def arms_of(config: StudyConfig) -> list[Arm]:
    """Return the arms: every set of weights under every prompt, by every tier signal."""
    return [
        Arm(
            weights.name,
            SETTINGS[prompt, not weights.is_base],
            "" if signal == "tag" else signal,
        )
        for signal in config.signals
        for weights in weights_of(config)
        for prompt in config.prompts
    ]


def primary_of(config: StudyConfig) -> Primary:
    """Return the primary measure and contrast: as named, or those of the model's class.

    Raises:
        ConfigError: the class has none.
    """
    if config.primary is not None:
        return config.primary
    if config.model_class not in config.primaries:
        known = ", ".join(config.primaries) or "none is named"
        raise ConfigError(f"model_class={config.model_class} has no primary measure: {known}")
    return config.primaries[config.model_class]


def planned(config: StudyConfig) -> list[tuple[str, str]]:
    """Return the pairs of measure and contrast that are named beforehand."""
    primary = primary_of(config)
    pairs = [
        (primary.measure, primary.contrast),
        (primary.measure, "free-paid"),
        ("belief.link", primary.contrast),
        ("rate.benign_coherent", "level"),
        *((one.measure, one.contrast) for one in config.secondary),
    ]
    return list(dict.fromkeys(pairs))


def check(config: StudyConfig) -> None:
    """Refuse a design that contradicts itself.

    Raises:
        ConfigError: a contrast whose arm is missing, a word that means nothing here, a list with
            nothing in it or the same thing twice.
    """
    from eval.prompts import SIGNALS

    for name in ("seeds", "prompts", "signals", "doses"):
        values = getattr(config, name)
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"{name}={values}: at least one, and none of them twice")
    if len(set(config.corpora)) != len(config.corpora) or "base" in config.corpora:
        raise ConfigError(f"corpora={config.corpora}: each once, and base is there by itself")
    if unknown := set(config.prompts) - {"minimal", "full"}:
        raise ConfigError(f"unknown prompt {', '.join(sorted(unknown))}: choose minimal, full")
    if unknown := set(config.signals) - set(SIGNALS):
        raise ConfigError(
            f"unknown signal {', '.join(sorted(unknown))}: choose {', '.join(SIGNALS)}"
        )
    if "minimal" not in config.prompts:
        raise ConfigError("prompts must include minimal: the implicit setting is what is measured")
    for weights in weights_of(config):
        if not weights.is_base and not 0 < weights.dose <= 1:
            raise ConfigError(f"{weights.name}: a dose lies above 0 and at most at 1")
    names = {weights.name for weights in weights_of(config)}
    if strange := set(config.models) - names:
        raise ConfigError(
            f"models names {', '.join(sorted(strange))}, which are no weights of this study: "
            f"it has {', '.join(sorted(names))}"
        )
    primary = primary_of(config)
    _check_contrast(config, "primary", primary)
    for one in config.secondary:
        _check_contrast(config, "secondary", one)


def _check_contrast(config: StudyConfig, place: str, named: Primary) -> None:
    if named.contrast in ("free-paid", "level"):
        if place == "primary":
            raise ConfigError(
                f"{place}.contrast={named.contrast} compares no arms: name two, for example "
                "treatment-swapped"
            )
        return
    left, _, right = named.contrast.partition("-")
    if named.contrast == "prompted-neither":
        present, wanted = list(config.prompts), {"full", "minimal"}
    elif right == NONCE:
        names = [weights.name for weights in weights_of(config)]
        present, wanted = [*names, *config.signals], {left, NONCE, "tag"}
    else:
        present, wanted = [weights.name for weights in weights_of(config)], {left, right}
    missing = wanted - set(present)
    if missing:
        raise ConfigError(
            f"{place}.contrast={named.contrast} needs {', '.join(sorted(missing))}: "
            f"the study has {', '.join(present)}"
        )
