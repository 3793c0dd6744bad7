"""What `--help` prints for a verb: what it does, its choices, its options with their defaults."""

import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

WIDTH = 100
GENERAL = """
Every option is NAME=VALUE; one that is not listed can be added with +NAME=VALUE. -m NAME=A,B runs
one job for each value, --cfg job prints the whole configuration, --hydra-help what Hydra adds.
"""


def usage(module: Any, config_name: str, schema: type, overrides: Sequence[str]) -> str:
    """Return the help of the verb `module`, with the defaults that `overrides` lead to.

    Raises:
        HydraException: an override or a choice does not exist.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    with initialize_config_module("conf", version_base="1.3"):
        config = compose(config_name, list(overrides), return_hydra_config=True)
        composed = config.hydra.runtime.choices.items()
        chosen = {name: option for name, option in composed if not name.startswith("hydra/")}
        loader = GlobalHydra.instance().config_loader()
        addable = [f.name for f in fields(schema) if f.name not in chosen]
        groups = {name: loader.get_group_options(name) for name in (*chosen, *addable)}
    choices = [
        f"{name}={chosen[name]}" if name in chosen else f"+{name}=NAME"
        for name, options in groups.items()
        if options
    ]
    listed = [options for options in groups.values() if options]
    values = OmegaConf.to_container(config, resolve=False)
    name = module.__spec__.name if module.__spec__ else module.__name__
    said = (module.__doc__ or "").removeprefix("Verb: ").strip()
    parts = [f"{name}: {said}"]
    if choices:
        pairs = zip(choices, map(", ".join, listed), strict=True)
        parts.append("\n".join(["Choices", *(_wrapped(f"{a:<24}{b}") for a, b in pairs)]))
    parts += _sections(schema, values, skipped=[n for n, options in groups.items() if options])
    return "\n\n".join([*parts, GENERAL.strip()])


def _sections(
    schema: type, values: Any, path: str = "", skipped: Sequence[str] = ()
) -> Iterator[str]:
    """Yield a dataclass' own options, then each dataclass within it."""
    inner, own = [], []
    for field in fields(schema):
        value, name = values[field.name], f"{path}{field.name}"
        if isinstance(field.type, type) and is_dataclass(field.type):
            inner.append((field.type, value, name))
        elif field.name not in skipped or path:
            own.append(_wrapped(f"{name}={_shown(value)}"))
    if own:
        said = textwrap.indent(inspect.cleandoc(schema.__doc__ or ""), "  ")
        yield "\n".join([path.removesuffix(".") or "Options", said, "", *own])
    for kind, value, name in inner:
        yield from _sections(kind, value, f"{name}.")


def _shown(value: Any) -> str:
    """Return a value as it would be typed; one that must be given as three dots."""
    import yaml

    if value == "???":
        return "…"
    text = yaml.safe_dump(
        value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _wrapped(line: str) -> str:
    lines = textwrap.wrap(
        line, WIDTH, initial_indent="  ", subsequent_indent=" " * 6, break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
    return "\n".join(lines)
