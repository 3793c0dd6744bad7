"""Seeds of sampling, so that what is compared is drawn alike."""

import hashlib


def sampling_seed(*parts: object) -> int:
    """Return a seed in [0, 2**31) that `parts` alone decide.

    What is no part, such as the tier, does not change the draw: two tiers are paired by it.
    """
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
