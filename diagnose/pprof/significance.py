"""
Is a change more than chance? Two-sided tests on counts, and the false discovery rate over many of them.

Counts are taken as Poisson, times a dispersion: how much more than that the same function varied between profiles of
health. Samples of one profile are not fully independent (one slow request is many samples), and only profiles of the
same program can tell by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import erfc, sqrt
from statistics import median

MIN_COUNT = 10
FALSE_DISCOVERY_RATE = 0.01
FEWEST_BASELINES = 3
POOLED_WEIGHT = 10  # what all functions together say about one counts as much as this many more profiles of it
ENOUGH_PER_PROFILE = 5  # below, the sum of squares of a function says nothing


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


@dataclass(frozen=True)
class Dispersion:
    """Variance of a function's count over that of a Poisson count, at least 1; `others` is for functions not seen."""

    others: float = 1.0
    of: Mapping[str, float] = field(default_factory=dict)

    def z(self, function: str, z: float) -> float:
        """*z* as it is when the counts vary that much: a dispersion of 4 halves it."""
        return z / sqrt(self.of.get(function, self.others))


def dispersion(healthy: Sequence[Mapping[str, float]], totals: Sequence[float], otherwise: float = 1.0) -> Dispersion:
    """
    How much the share of each function varied between *healthy* profiles: observations by function, and all of each.

    Per function Pearson's X² over its share of each profile, whose mean is the number of profiles less one when there
    is nothing but chance. With three profiles that is a coarse measure, so it is drawn towards the median of all
    functions. Shares, because load differs between profiles. With fewer than FEWEST_BASELINES it is *otherwise*.

        three profiles of 1000; main.gc 100, 100, 100   X² = 0        main.cache 60, 100, 140   X² = 35.6
        median of all functions 1.4 (as by chance)      main.cache (10 · 1 + 35.6) / 12 = 3.8
    """
    profiles = [(seen, total) for seen, total in zip(healthy, totals, strict=True) if total > 0]
    if len(profiles) < FEWEST_BASELINES:
        return Dispersion(otherwise)
    freedom = len(profiles) - 1
    squares, common = {}, []
    for name in {name for seen, _ in profiles for name in seen}:
        counts = [(seen.get(name, 0.0), total) for seen, total in profiles]
        squares[name] = _x_square(counts)
        if sum(count for count, _ in counts) >= ENOUGH_PER_PROFILE * len(profiles):
            common.append(squares[name])
    pooled = median(common) / (freedom * (1 - 2 / (9 * freedom)) ** 3) if common else 1.0
    drawn = {name: (POOLED_WEIGHT * pooled + square) / (POOLED_WEIGHT + freedom) for name, square in squares.items()}
    return Dispersion(max(1.0, pooled), {name: max(1.0, value) for name, value in drawn.items()})


def _x_square(counts: Sequence[tuple[float, float]]) -> float:
    """Of one function: (count, count of all) per profile."""
    share = sum(count for count, _ in counts) / sum(total for _, total in counts)
    if not 0 < share < 1:
        return 0.0
    return sum((count - total * share) ** 2 / (total * share * (1 - share)) for count, total in counts)
