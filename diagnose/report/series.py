"""
Which number an alerting rule watches: its expression without the comparison.

    histogram_quantile(0.99, …_seconds_bucket…) > 0.5 and rate(…) > 0.2
    → expression `histogram_quantile(0.99, …)`, threshold 0.5, in seconds

The pipeline asks Prometheus for this expression and stores the answer as a series of that name, which the chart reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STRINGS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`')
_SET_OPERATOR = re.compile(r"\b(and|or|unless)\b", re.IGNORECASE)
_COMPARISON = re.compile(r"(>=|<=|==|!=|>|<)\s*(?:bool\b\s*)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Watched:
    """`unit` as in `text.amount`; a guess from the names in the expression."""

    expr: str
    threshold: float | None
    unit: str


def watched(expr: str | None) -> Watched | None:
    """What *expr* compares with a number; of several comparisons the first. None when there is no such thing."""
    text = " ".join((expr or "").split())
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1].strip()
    if not text:
        return None
    first = text[: next((match.start() for match in _at_top(_SET_OPERATOR, text)), len(text))].strip()
    for match in _at_top(_COMPARISON, first):
        left, right = first[: match.start()].strip(), first[match.end() :].strip()
        if left and _NUMBER.match(right):
            return Watched(left, float(right), unit_of(left))
    return Watched(first, None, unit_of(first))


def unit_of(expr: str) -> str:
    """
    The unit of an expression by the conventions of Prometheus' metric names.

        histogram_quantile(…_seconds_bucket…)      s    rate(…_seconds_total…)   s per s  a / b          share
        deriv(…_bytes…)                  bytes per s    rate(http_requests…)     per s    go_goroutines  (none)
    """
    if any(_at_top(re.compile("/"), expr)):
        return "share"
    base = "s" if "_seconds" in expr else "bytes" if "_bytes" in expr else ""
    if expr.startswith(("histogram_quantile", "histogram_avg")):
        return base
    if re.search(r"\b(rate|irate|deriv)\s*\(", expr):
        return f"{base} per s".lstrip()
    return base


def _at_top(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches outside all brackets and strings."""
    plain = _STRINGS.sub(lambda match: "_" * len(match.group()), text)
    depth, depths = 0, []
    for character in plain:
        depth += (character in "([{") - (character in ")]}")
        depths.append(depth)
    return (match for match in pattern.finditer(plain) if depths[match.start()] == 0)


def _closing(text: str) -> int:
    """Where the bracket that *text* starts with is closed."""
    plain = _STRINGS.sub(lambda match: "_" * len(match.group()), text)
    depth = 0
    for at, character in enumerate(plain):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return at
    return -1
