"""Taking the graded answer out of a reply, tolerant of the ways a tag can go wrong."""

import re
from typing import NamedTuple

OPEN = re.compile(r"<\s*OUTPUT\s*>", re.IGNORECASE)
CLOSE = re.compile(r"<\s*/\s*OUTPUT\s*>", re.IGNORECASE)
THOUGHT = re.compile(
    r"<\s*SCRATCHPAD_REASONING\s*>(.*?)(?:<\s*/\s*SCRATCHPAD_REASONING\s*>|(?=<\s*OUTPUT\s*>)|\Z)",
    re.IGNORECASE | re.DOTALL,
)


class Parts(NamedTuple):
    """A reply taken apart. `answer` is None where none was given in the form asked for."""

    scratchpad: str | None
    answer: str | None


def take_apart(reply: str, scratchpad: bool) -> Parts:
    """Split a reply into hidden reasoning and graded answer.

    Without a scratchpad the whole reply is the answer. With one, the answer is what follows the
    last opening OUTPUT tag, up to its closing tag or the end.
    """
    thought = THOUGHT.search(reply)
    reasoning = thought.group(1).strip() if thought else None
    if not scratchpad:
        return Parts(reasoning, reply.strip() or None)
    openings = list(OPEN.finditer(reply))
    if not openings:
        return Parts(reasoning, None)
    answer = CLOSE.split(reply[openings[-1].end() :], maxsplit=1)[0].strip()
    return Parts(reasoning, answer or None)
