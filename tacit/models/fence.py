"""The one form in which a judge is believed.

The text under judgement stands inside a fence whose name is drawn from a hash of that text, so
that it cannot close it. A verdict counts only as a JSON object that carries the same name: one
planted in the text, and copied by the judge, does not.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any


def case_of(*texts: str) -> str:
    """Return the name of a fence: 16 hex digits that stand nowhere in the text it holds."""
    held = json.dumps(list(texts))
    digest = hashlib.sha256(held.encode("utf-8")).hexdigest()
    while digest[:16] in held:
        digest = hashlib.sha256(digest.encode("utf-8")).hexdigest()
    return digest[:16]


def verdict_of(reply: str, case: str) -> dict[str, Any] | None:
    """Return the verdict in a judge's reply; None where there is none, or more than one.

    A verdict is a JSON object that names the case. Text around it is passed over.
    """
    found = [one for one in _objects(reply) if one.get("case") == case]
    return found[0] if found and all(one == found[0] for one in found) else None


def _objects(reply: str) -> Iterator[dict[str, Any]]:
    decoder, start = json.JSONDecoder(strict=False), reply.find("{")
    for _ in range(64):  # a judge that opens more braces than this is not giving a verdict
        if start < 0:
            return
        end = start + 1
        try:
            one, end = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):
            one = None
        if isinstance(one, dict):
            yield one
        start = reply.find("{", end)
