"""Taking the graded answer out of a reply, tolerant of the ways a tag can go wrong."""

import re
from typing import NamedTuple

from tacit.rundir.shown import written_out

TAG = re.compile(r"<\s{0,9}(/?)\s{0,9}(OUTPUT|SCRATCHPAD_REASONING)\s{0,9}>", re.IGNORECASE)


class Parts(NamedTuple):
    """A reply taken apart. `answer` is None where none was given in the form asked for."""

    scratchpad: str | None
    answer: str | None


def take_apart(reply: str, scratchpad: bool) -> Parts:
    """Split a reply into hidden reasoning and graded answer.

    Hidden reasoning is what stands in scratchpad tags; one never closed ends at the next OUTPUT
    tag, or with the reply. An OUTPUT tag that is opened within a scratchpad and not closed before
    it is a mention, not an answer. The answer is what follows the last OUTPUT tag that has
    something in it, up to its closing tag or the end, less any scratchpad within.

    Where no scratchpad was asked for the tags may be missing: the answer is then the reply, less a
    scratchpad that was written unasked, as a prompt that tells of one invites.
    """
    thoughts: list[str] | None = None
    answers: list[str] = []
    outside = ""
    inside, before, start, is_within = "", "", 0, False
    for tag in [*TAG.finditer(reply), None]:
        text = reply[start : tag.start() if tag else len(reply)]
        if inside == "thought" and thoughts is not None:
            thoughts.append(text)
        elif inside == "answer":
            answers[-1] = _beside(answers[-1], text)
        else:
            outside = _beside(outside, text)
        if tag is None:
            break
        start = tag.end()
        is_closing, is_output = bool(tag.group(1)), tag.group(2).upper() == "OUTPUT"
        if is_output and not is_closing:
            is_within = inside == "thought"
            answers.append("")
            inside = "answer"
        elif is_output:
            inside, is_within = "", False
        elif not is_closing and inside != "thought":
            thoughts = thoughts or []
            before, inside = inside, "thought"
        elif is_closing and inside == "thought":
            inside = before
        elif is_closing and inside == "answer" and is_within and thoughts is not None:
            thoughts.append(answers.pop())
            inside, is_within = "", False
    joined = None if thoughts is None else "\n\n".join(t.strip() for t in thoughts if t.strip())
    answer = next((a.strip() for a in reversed(answers) if a.strip()), None)
    return Parts(joined, answer if scratchpad or answer else outside.strip() or None)


def _beside(before: str, after: str) -> str:
    """Join what stood on both sides of something taken out; halves of a tag make no tag."""
    whole = before + after
    return f"{before} … {after}" if TAG.search(whole) else whole


def visible(text: str) -> str:
    r"""Return a text with its control characters written out, as `\x1b`.

    The brackets of chat templates' special tokens (`<|…|>`) are pulled apart as well: what is shown
    is what is there, to a person or to a judge.
    """
    return written_out(text).replace("<|", "< |").replace("|>", "| >")
