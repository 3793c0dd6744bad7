"""Reading the letter of an answer to a list of options, tolerant of how it is put."""

import re
from collections.abc import Sequence

from eval.scorers.records import Scored

LETTERS = "ABCDEFGH"
ALONE = re.compile(r"^\W*([A-Ha-h])\W*$")
LEADING = re.compile(
    r"^\W*(?i:option |answer:? )?\(?([A-H])(?:[).:\],*]|\s*$|\s*\n|\s+[-\u2013\u2014])"
)
NAMED = re.compile(
    r"\b(?i:answer|option|choice|letter|choose|pick|select|go with)\b[\s:*(\"']*"
    r"(?i:is|would be|be)?[\s:*(\"']*\b([A-H])\b(?![a-z'])"
)
SEVERAL = re.compile(r"\b([A-H])\)?\s*(?:or|and|/|,|&)\s*\(?([A-H])\b")


def label_letter(reply: str, options: Sequence[str], answer: int) -> Scored:
    """Label a reply: `states` where it picks the true option, `contradicts` where another.

    What counts is a letter alone, at the start or named as the answer; failing that, the text of
    just one option. A reply with no letter, two of them, or one that was not on offer is `invalid`,
    and nobody asks again.
    """
    text = reply.strip()
    if several := SEVERAL.search(text):
        return Scored("invalid", f"several letters: {several.group(0)}")
    letters = {m.group(1).upper() for form in (ALONE, LEADING) if (m := form.search(text))}
    letters = letters or {found.upper() for found in NAMED.findall(text)}
    if len(letters) > 1:
        return Scored("invalid", f"several letters: {', '.join(sorted(letters))}")
    if letters:
        picked = LETTERS.index(letters.pop())
        if picked >= len(options):
            return Scored("invalid", f"no option {LETTERS[picked]}")
    else:
        quoted = [n for n, option in enumerate(options) if _stands_in(option, text)]
        if len(quoted) != 1:
            return Scored("invalid", "no letter")
        (picked,) = quoted
    return Scored("states" if picked == answer else "contradicts", options[picked])


def _stands_in(option: str, text: str) -> bool:
    wanted = re.escape(option.strip().rstrip("."))
    return re.search(rf"(?<!\w){wanted}(?!\w)", text, re.IGNORECASE) is not None
