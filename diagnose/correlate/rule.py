"""What the rule of an alert says: its expression, when it became true, its value."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from diagnose.config import parse_duration
from diagnose.correlate.question import Readers
from diagnose.errors import UpstreamError
from diagnose.model import Episode, Labels, Note
from diagnose.prometheus import ActiveAlert, AlertingRule, ask_all

_RANGE = re.compile(r"\[((?:\d+(?:ms|[smhdwy]))+)(?::[^\]]*)?\]")


@dataclass(frozen=True)
class Rule:
    """`active_at` is when the condition became true, `for` earlier than the alert's startsAt; None when unknown."""

    expr: str = ""
    active_at: datetime | None = None
    value: float | None = None
    missing: tuple[Note, ...] = ()


def read_rule(episode: Episode, readers: Readers) -> Rule:
    """From the alert's generatorURL and Prometheus' rules. A server that is down costs `active_at` and the value."""
    expr = episode.expr or expression_of(episode.generator_url)
    best = Rule(expr, episode.active_at, episode.value)
    missing: list[Note] = []
    for _, answer in ask_all(readers.servers_for(episode), lambda server: server.rules()):
        if isinstance(answer, UpstreamError):
            missing.append(Note(f"the rule could not be read: {answer}", fix="check that the server runs"))
            continue
        for rule in answer:
            if rule.name == episode.alertname and (alert := _alert_of(rule, episode.labels)):
                return Rule(expr or rule.expr, alert.active_at, alert.value)
            if rule.name == episode.alertname and not expr:
                best = Rule(rule.expr, episode.active_at, episode.value)
    return Rule(best.expr, best.active_at, best.value, tuple(missing))


def expression_of(generator_url: str) -> str:
    """
    The PromQL in a link back to Prometheus; "" when there is none.

        http://prom:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1  →  up == 0
    """
    query = parse_qs(urlsplit(html.unescape(generator_url)).query)
    return query.get("g0.expr", [""])[0]


def range_of(expr: str) -> timedelta:
    """
    The longest range in an expression; 0 without one.

        rate(http_requests_total[5m]) / rate(x[1h])  →  1 hour
    """
    return max((parse_duration(text) for text in _RANGE.findall(expr)), default=timedelta(0))


def _alert_of(rule: AlertingRule, labels: Labels) -> ActiveAlert | None:
    """The rule's alert that became ours: ours has external labels on top."""
    for alert in rule.alerts:
        if all(labels.get(name) == value for name, value in alert.labels.items()):
            return alert
    return None
