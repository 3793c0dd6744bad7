"""The door of a verb: one line for every expected error, 130 for Ctrl-C; Hydra in front of most."""

import errno
import os
import re
import sys
from collections.abc import Callable
from itertools import takewhile
from typing import Any

from tacit.errors import ConfigError, TacitError
from tacit.rundir.shown import written_out
from tacit.rundir.usage import usage

# Anthropic's and OpenAI's, Hugging Face's, AWS's and GitHub's.
KEY_SHAPE = re.compile(
    r"(?<![A-Za-z0-9])(sk-(?=[\w-]*\d)[\w-]{20,}|hf_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36})"
)
# Names under which nothing can be written: no rights, read-only, a file where a folder should be.
NO_PLACE = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP,
    errno.ENAMETOOLONG,
)  # fmt: skip
REMEDY = "see --help for the options, or add a new one with +name=value"


def enter(verb: Callable[[Any], None], config_name: str, schema: type) -> None:
    """Run a verb behind Hydra, with `conf/<config_name>.yaml` checked against a dataclass.

    The verb gets the dataclass. Expected errors print one line and exit 1; Ctrl-C exits 130, also
    while libraries load. Set `TACIT_TRACEBACK=1` to see where an error came from.
    """
    try:
        _enter(verb, config_name, schema)
    except BaseException as error:
        _stop_if_expected(error)
        raise


def enter_plain(verb: Callable[[], None], error_code: int = 1) -> None:
    """Run a verb that reads its arguments itself; expected errors and Ctrl-C end as in `enter`.

    Args:
        verb: Parses the command line and does the work.
        error_code: The exit status of expected errors.
    """
    try:
        verb()
    except BaseException as error:
        _stop_if_expected(error, error_code)
        raise


def _enter(verb: Callable[[Any], None], config_name: str, schema: type) -> None:
    import hydra
    import yaml
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # OmegaConf derives its loader from this name: libyaml's composes in a third of the time.
    yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[misc,assignment]

    # Hydra prints errors over several lines and exits by itself unless it is told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    ConfigStore.instance().store(name=f"{config_name}_schema", node=schema)

    is_composed = False

    def task(config: Any) -> None:
        nonlocal is_composed
        is_composed = True
        # Handled here as well: Hydra prints a line of its own for what it sees raised.
        try:
            refuse_keys(OmegaConf.to_container(config, resolve=True))
            verb(OmegaConf.to_object(config))
        except BaseException as error:
            _stop_if_expected(error)
            raise

    task.__module__ = verb.__module__  # Hydra names the job and its program after the function
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            overrides = [word for word in sys.argv[1:] if not word.startswith("-")]
            print(usage(sys.modules[verb.__module__], config_name, schema, overrides))
            return
        hydra.main(version_base="1.3", config_path="pkg://conf", config_name=config_name)(task)()
    except (HydraException, OmegaConfBaseException) as error:
        if _was_interrupted(error):
            raise KeyboardInterrupt from error
        _stop(f"error: {_first_line(error)} ({REMEDY})", 1)
    except ValueError as error:
        if is_composed:
            raise
        # Hydra's own check of a group's value: `setting=null`.
        _stop(f"error: {_first_line(error)} ({REMEDY})", 1)


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C stands behind an error: Hydra and OmegaConf wrap whatever they meet."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def refuse_keys(value: Any, name: str = "") -> None:
    """Refuse a configuration that holds an API key: it would be written beside every result.

    Raises:
        ConfigError: names the option, not the key.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            refuse_keys(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for inner in value:
            refuse_keys(inner, name)
    elif isinstance(value, str) and KEY_SHAPE.search(value):
        raise ConfigError(
            f"{name} holds what looks like an API key: set it in the environment instead "
            "(.env.example), configurations are written beside results"
        )


def _stop_if_expected(error: BaseException, code: int = 1) -> None:
    """End the process with one line where the user can mend what went wrong."""
    if os.environ.get("TACIT_TRACEBACK"):
        return
    if isinstance(error, KeyboardInterrupt):
        _stop("stopped; what is finished is kept, the same command continues", 130)
    if isinstance(error, TacitError):
        _stop(f"error: {error}", code)
    if isinstance(error, OSError) and error.errno in NO_PLACE:
        _stop(f"error: {error.filename}: {error.strerror}; choose another folder", code)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        _stop("error: no disk space left; free some, the same command continues", code)


def _first_line(error: BaseException) -> str:
    """Return an error's first line and, where Hydra lists what there is to choose, that list."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    _, _, rest = str(error).partition("Available options in")
    if not rest:
        return lines[0]
    options = takewhile(lambda line: line.startswith("\t"), rest.splitlines()[1:])
    listed = [line.strip() for line in options if "=" not in line]
    return f"{lines[0]}: choose {', '.join(listed)}"


def _stop(line: str, code: int) -> None:
    print(written_out(" ".join(line.split())), file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    if code == 130:
        os._exit(code)  # libraries' own exit hooks print after an interrupt
    sys.exit(code)


def required(value: str | None, name: str, remedy: str) -> str:
    """Return a value that has no default.

    Raises:
        ConfigError: it was not given; the message names the remedy.
    """
    if not value:
        raise ConfigError(f"{name} is missing: {remedy}")
    return value
