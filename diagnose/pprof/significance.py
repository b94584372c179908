"""
Is a change more than chance? Two-sided tests on counts, and the false discovery rate over many of them.

Counts are taken as Poisson. Samples of one profile are not fully independent, so a z near 3 is no news by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, sqrt

MIN_COUNT = 10
FALSE_DISCOVERY_RATE = 0.01


def z_of_rate(before: float, after: float, before_s: float, after_s: float) -> float:
    """
    Did events per second change?  z = (b/Tb − a/Ta) / √((a + b) / (Ta·Tb))

        100 events in 10 s, then 200 in 10 s:  (20 − 10) / √(300 / 100) = 5.77
    """
    if before + after <= 0:
        return 0.0
    return (after / after_s - before / before_s) / sqrt((before + after) / (before_s * after_s))


def z_of_share(before: float, after: float, all_before: float, all_after: float) -> float:
    """
    Did the share of all events change?  z = (b/Nb − a/Na) / √(p(1 − p)(1/Na + 1/Nb)),  p = (a + b)/(Na + Nb)

        100 of 1000, then 200 of 2000:  0          100 of 1000, then 200 of 1000:  0.1 / √(0.15·0.85/500) = 6.26
    """
    if all_before <= 0 or all_after <= 0:
        return 0.0
    pooled = (before + after) / (all_before + all_after)
    variance = pooled * (1 - pooled) * (1 / all_before + 1 / all_after)
    return (after / all_after - before / all_before) / sqrt(variance) if variance > 0 else 0.0


def weaker(first: float, second: float) -> float:
    """The one nearer to zero; 0 when they disagree about the direction."""
    if first * second <= 0:
        return 0.0
    return min(first, second, key=abs)


def p_value(z: float) -> float:
    """Chance of a z at least this far from 0, in either direction, when nothing changed. p_value(1.96) = 0.05."""
    return erfc(abs(z) / sqrt(2))


def discoveries(z_values: Sequence[float], rate: float = FALSE_DISCOVERY_RATE) -> list[bool]:
    """
    Which of the tests count, so that at most *rate* of those are false (Benjamini and Hochberg).

    Sort the m p-values; find the largest k with p(k) ≤ k/m · rate; the first k count.

        p = 0.0001, 0.004, 0.03, 0.6 at rate 0.01:  limits 0.0025, 0.005, 0.0075, 0.01  →  the first two
    """
    order = sorted(range(len(z_values)), key=lambda at: p_value(z_values[at]))
    last = 0
    for rank, at in enumerate(order, start=1):
        if p_value(z_values[at]) <= rank / len(order) * rate:
            last = rank
    counted = set(order[:last])
    return [at in counted for at in range(len(z_values))]
