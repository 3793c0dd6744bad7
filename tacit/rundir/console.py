"""The console of every verb: terminal escapes in what is printed are text, styles are ours."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.segment import Segment

from tacit.rundir.shown import written_out


def console_for(plain_width: int, markup: bool = False) -> Console:
    """Return a console that shows terminal escapes as text.

    Args:
        plain_width: Columns where the output is no terminal.
        markup: Whether `[bold]` and the like mean something, and figures are coloured; not where
            names that others gave are printed.
    """
    width = None if sys.stdout.isatty() else plain_width
    console = Console(width=width, markup=markup, highlight=markup)
    console.push_render_hook(_Shown())
    return console


class _Shown(RenderHook):
    """A render hook: what is printed passes through `written_out`, styles are kept."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Written(one) for one in renderables]


@dataclass(frozen=True)
class _Written:
    inner: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            text = segment.text if segment.control else written_out(segment.text)
            yield Segment(text, segment.style, segment.control)
