"""
Which instances suffer most, by what the alert itself watches.

An aggregated alert says only that a service is slow. Its expression with the instance put into every grouping says
which of its processes are: `sum by (job) (rate(x[1m]))` becomes `sum by (job, instance, …) (rate(x[1m]))`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diagnose.capture.targets import AllowedTarget, is_instance
from diagnose.prometheus import Series

INSTANCE_GROUPING = ("instance", "service_instance_id", "pod")
CLEARLY_BETTER = 0.5  # of the worst
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`""")
_GROUPING = re.compile(r"\b(by|on)\s*\(([^()]*)\)")
_WITHOUT = re.compile(r"\b(without|ignoring)\s*\(([^()]*)\)")
_AGGREGATION = re.compile(r"\b(?:sum|avg|min|max|count|group|stddev|stdvar|quantile)\s*\(")
_CLAUSE = re.compile(r"\s*(?:by|without)\b")


@dataclass(frozen=True)
class Measured:
    """
    What the alert watches, per process (by its pprof URL), and what makes it fire.

    `low_is_bad`: it fires below the `threshold`. A process that is not in `values` is not known.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    threshold: float | None = None
    low_is_bad: bool = False

    def badness(self, target: AllowedTarget) -> float:
        """The larger the worse; what is not known is better than anything."""
        value = self.values.get(target.pprof_url)
        if value is None:
            return -math.inf
        return -value if self.low_is_bad else value

    def is_healthy(self, target: AllowedTarget, worst: AllowedTarget) -> bool:
        """It is known, would not make the alert fire alone and, where high is bad, has half of the worst or less."""
        mine, most = self.badness(target), self.badness(worst)
        if mine == -math.inf or mine >= most:
            return False
        limit = None if self.threshold is None else -self.threshold if self.low_is_bad else self.threshold
        if limit is not None and mine > limit:
            return False
        return self.low_is_bad or mine <= CLEARLY_BETTER * most


def per_instance(expr: str) -> str:
    """
    *expr* with one value per instance. What is not understood stays; then Prometheus answers fewer series or an error.

        histogram_quantile(0.9, sum by (le) (rate(x[1m])))  →  … sum by (le, instance, …) (rate(x[1m])) …
        sum(rate(x[1m])) / sum(rate(y[1m])) by (job)        →  sum by (instance, …) (…) / sum(…) by (job, instance, …)
        avg without (instance, zone) (x)                    →  avg without (zone) (x)
    """
    strings: list[str] = []

    def hide(found: re.Match[str]) -> str:
        strings.append(found[0])
        return f'"{len(strings) - 1}"'

    text = _with_clauses(_QUOTED.sub(hide, expr))
    text = _GROUPING.sub(lambda found: f"{found[1]} ({', '.join(_names(found[2], add=INSTANCE_GROUPING))})", text)
    text = _WITHOUT.sub(lambda found: f"{found[1]} ({', '.join(_names(found[2], drop=INSTANCE_GROUPING))})", text)
    return re.sub(r'"(\d+)"', lambda found: strings[int(found[1])], text)


def _with_clauses(text: str) -> str:
    """An aggregation over everything gets a grouping to put the instance into."""
    done = 0
    while found := _AGGREGATION.search(text, done):
        opens = found.end() - 1
        if _CLAUSE.match(text, _closing(text, opens) + 1):
            done = found.end()
        else:
            text = f"{text[:opens].rstrip()} by () {text[opens:]}"
            done = opens + len(" by () (")
    return text


def _closing(text: str, opens: int) -> int:
    depth = 0
    for at in range(opens, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if depth == 0:
            return at
    return len(text) - 1


def _names(text: str, *, add: Sequence[str] = (), drop: Sequence[str] = ()) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    return [name for name in dict.fromkeys([*names, *add]) if name not in drop]


def by_target(series: Sequence[Series], targets: Sequence[AllowedTarget]) -> dict[str, float]:
    """The newest value per target (by pprof URL); of several series of one target the largest."""
    values: dict[str, float] = {}
    for each in series:
        value = each.points[-1][1]
        for target in targets:
            if math.isfinite(value) and is_instance(target, each.labels):
                values[target.pprof_url] = max(value, values.get(target.pprof_url, value))
    return values
