"""
What the text of a PromQL expression says about exemplars, without a full parser.

Prometheus itself finds the series (`query_exemplars` takes the whole expression); this only helps to tell those that
make the alert fire from those it is compared with. What is not understood changes the order of traces, nothing else.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from diagnose.config import parse_duration
from diagnose.matchers import Matcher, all_match, parse_matcher

_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`"""
_SELECTOR = re.compile(rf"([a-zA-Z_:][\w:]*)?\{{((?:{_QUOTED}|[^{{}}\"'`])*)\}}")
_MATCHER = re.compile(rf"([a-zA-Z_][\w.]*)\s*(=~|!~|!=|=)\s*({_QUOTED})")
_RANGE = re.compile(r"\[\s*(\d[0-9a-z]*)")
_LAST_COMPARISON = re.compile(
    r"(>=|<=|==|!=|>|<)\s*(?:bool\s+)?\(?\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[\s)]*$"
)
_ONE_MINUS = re.compile(r"(?<![\w.])1\s*-\s*")
_COUNTS = re.compile(r"_(total|bucket|count|sum)\b|histogram_quantile")


@dataclass(frozen=True)
class Selector:
    """`http_requests_total{code=~"5.."}`: the metric's name and what its labels must be."""

    name: str
    matchers: tuple[Matcher, ...]

    def accepts(self, name: str, labels: Mapping[str, str]) -> bool:
        return self.name in ("", name) and all_match(self.matchers, labels)

    def is_part_of(self, other: Selector) -> bool:
        """Whether it selects a part of what *other* selects: the same metric with more conditions."""
        return self.name == other.name and set(self.matchers) > set(other.matchers)


@dataclass(frozen=True)
class Comparison:
    """The last `> 0.5` of an expression."""

    operator: str
    threshold: float


def expression_of(generator_url: str) -> str:
    """
    The expression in the link of an alert; empty when there is none (Grafana and others have other links).

        http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1   →   up == 0

    Only the text is taken; the host is never asked.
    """
    try:
        query = urlsplit(html.unescape(generator_url)).query
        found = parse_qs(query, max_num_fields=100)
    except ValueError:
        return ""
    return found.get("g0.expr", [""])[0].strip()


def selectors(expr: str) -> list[Selector]:
    """The selectors with braces in *expr*, in order; one whose matchers Python cannot read is left out."""
    found = []
    for name, inside in _SELECTOR.findall(expr):
        try:
            matchers = tuple(
                parse_matcher(f'{label}{operator}"{value[1:-1]}"')
                for label, operator, value in _MATCHER.findall(inside)
            )
        except ValueError:
            continue
        found.append(Selector(name, matchers))
    return found


def numerators(expr: str) -> list[Selector]:
    """
    The selectors that take a part of what another one takes: in an error ratio the failed requests.

        rate(x_total{code=~"5.."}[5m]) / rate(x_total[5m])   →   x_total{code=~"5.."}
    """
    bare = [Selector(name, ()) for name in _bare_names(expr)]
    known = selectors(expr)
    return [each for each in known if any(each.is_part_of(other) for other in [*known, *bare])]


def _bare_names(expr: str) -> set[str]:
    """Names in front of a range without braces: `x_total[5m]`."""
    return set(re.findall(r"([a-zA-Z_:][\w:]*)\s*\[", re.sub(_QUOTED, '""', expr)))


def comparison(expr: str) -> Comparison | None:
    """The comparison with a number at the end, if there is one."""
    found = _LAST_COMPARISON.search(expr.strip())
    return Comparison(found[1], float(found[2])) if found else None


def fires_when_high(expr: str) -> bool:
    """
    Whether more of the numerator makes the alert fire; `good / all < 0.99` and `1 - good / all > 0.01` fire on less.
    """
    compared = comparison(expr)
    below = compared is not None and compared.operator in ("<", "<=")
    return below == bool(_ONE_MINUS.search(expr))


def longest_range_s(expr: str) -> float:
    """The longest `[5m]` in seconds; 0 without any."""
    ranges = [0.0]
    for text in _RANGE.findall(expr):
        try:
            ranges.append(parse_duration(text).total_seconds())
        except ValueError:
            continue
    return max(ranges)


def can_have_exemplars(expr: str) -> bool:
    """Whether a counter or a histogram seems to be in it; a gauge never has exemplars."""
    return bool(_COUNTS.search(expr))
