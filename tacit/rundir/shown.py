"""What others wrote, shown as it is: control characters are text."""

import re

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def written_out(text: str) -> str:
    r"""Return a text with its control characters written out, as `\x1b`.

    Line breaks and tabs stay. Marks that turn the direction of writing or take no room are written
    out as well.
    """
    return HIDDEN.sub(_code, text)


def _code(match: re.Match[str]) -> str:
    code = ord(match.group(0))
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
