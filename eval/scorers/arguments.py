"""Paths on the command line of a verb whose other arguments are Hydra's `name=value`."""

import json
import sys
from pathlib import Path


def take_paths(name: str, is_list: bool = True) -> None:
    """Turn bare paths among the arguments into `name=…`, so that `VERB PATH… judge=X` works.

    An argument is a path where it has no `=` and is no option, or where something of that name
    exists.
    """
    paths: list[str] = []
    rest: list[str] = []
    for number, one in enumerate(sys.argv[1:]):
        follows_option = number > 0 and sys.argv[number] in ("-cn", "-cd", "-cp", "-p", "-i")
        is_bare = not one.startswith(("-", "+", "~")) and "=" not in one
        if not follows_option and (is_bare or (not one.startswith("-") and Path(one).exists())):
            paths.append(json.dumps(one, ensure_ascii=False))
        else:
            rest.append(one)
    if paths:
        value = f"[{','.join(paths)}]" if is_list or len(paths) > 1 else paths[0]
        rest.append(f"{name}={value}")
    sys.argv[1:] = rest
