"""Templates: files beside a room's code, in which nothing may be left unfilled."""

from importlib.resources.abc import Traversable

import jinja2


def templates_in(folder: Traversable, autoescape: bool = False) -> jinja2.Environment:
    """Return the templates of a folder, by the names of their files.

    Args:
        folder: Of a package, as `importlib.resources` gives it.
        autoescape: For HTML.
    """
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        undefined=jinja2.StrictUndefined,
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
    )
