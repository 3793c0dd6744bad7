"""Options that nothing can be trained with, refused in one line before weights are loaded."""

import importlib.util
from collections.abc import Callable
from operator import attrgetter

from finetune.config import FinetuneConfig
from tacit.errors import ConfigError

AT_LEAST_1 = (
    "lora.rank", "lora.alpha", "optim.batch_size", "optim.accumulation", "documents.limit",
    "belief.group_limit", "save_every", "log_every",
)  # fmt: skip
ABOVE_0 = ("optim.epochs", "optim.max_grad_norm")
AT_LEAST_0 = ("optim.learning_rate", "optim.weight_decay", "replay.ratio", "belief.points")
SHARES = ("lora.dropout", "optim.warmup_share", "documents.validation_share")


def check_ranges(config: FinetuneConfig) -> None:
    """Refuse a number outside its range, and a tracker that is not installed.

    Raises:
        ConfigError: names the option and its range.
    """
    ranges: list[tuple[tuple[str, ...], Callable[[float], bool], str]] = [
        (AT_LEAST_1, lambda x: x >= 1, "be 1 or more"),
        (ABOVE_0, lambda x: x > 0, "lie above 0"),
        (AT_LEAST_0, lambda x: x >= 0, "be 0 or more"),
        (SHARES, lambda x: 0 <= x < 1, "be 0 or more and lie below 1"),
    ]
    for names, is_right, said in ranges:
        for name in names:
            value = attrgetter(name)(config)
            if value is not None and not is_right(value):
                raise ConfigError(f"{name}={value} must {said}")
    for tracker in config.trackers:
        if importlib.util.find_spec(tracker) is None:
            raise ConfigError(f"trackers: {tracker} is not installed: pip install '.[trackers]'")


def check_names(config: FinetuneConfig) -> None:
    """Refuse an optimiser or a schedule that transformers does not know.

    Raises:
        ConfigError: with what there is to choose.
    """
    from transformers import SchedulerType
    from transformers.training_args import OptimizerNames

    for name, value, known in (
        ("optim.optimizer", config.optim.optimizer, OptimizerNames),
        ("optim.schedule", config.optim.schedule, SchedulerType),
    ):
        choices = [one.value for one in known]
        if value not in choices:
            raise ConfigError(f"{name}={value}: choose {', '.join(choices)}")
