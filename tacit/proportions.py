"""The interval of a share: every room that counts hits says how far to trust the count."""

import math

Z = 1.959963984540054  # of the normal, at 97.5 %


def wilson(hits: float, count: int) -> tuple[float, float, float]:
    """Return a share with its 95 % score interval, all 0-1; NaN of nothing.

    It never has width 0, and it takes fractions: `hits` may be a sum of rates.

    Source: Wilson 1927. (scipy has it too, at a third of a millisecond a call.)
    """
    if not count:
        return math.nan, math.nan, math.nan
    share, scale = hits / count, 1 + Z * Z / count
    centre = (share + Z * Z / (2 * count)) / scale
    reach = Z * math.sqrt(share * (1 - share) / count + (Z / count) ** 2 / 4) / scale
    low = max(centre - reach, 0.0) if hits else 0.0
    high = min(centre + reach, 1.0) if hits != count else 1.0
    return share, low, high
