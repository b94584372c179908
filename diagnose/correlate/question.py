"""What every correlation strategy is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from diagnose.config import Settings
from diagnose.correlate.expression import expression_of, longest_range_s
from diagnose.errors import UpstreamError
from diagnose.model import Episode, Exemplar, Labels, Note, TraceRef, utc_now
from diagnose.prometheus import ActiveAlert, AlertingRule, Prometheus, ask_all
from diagnose.store.db import Store
from diagnose.upstream import NoAnswer

# Where requests leave their exemplars: client_golang by hand, OpenTelemetry (both spellings), span metrics, gRPC.
REQUEST_METRICS = (
    "http_request_duration_seconds_bucket",
    "http_server_request_duration_seconds_bucket",
    "http_server_duration_milliseconds_bucket",
    "rpc_server_duration_milliseconds_bucket",
    "rpc_server_call_duration_seconds_bucket",
    "grpc_server_handling_seconds_bucket",
    "traces_span_metrics_duration_milliseconds_bucket",
    "traces_span_metrics_duration_seconds_bucket",
)
MARGIN = timedelta(seconds=15)  # clocks differ, and a rule is evaluated some time after the scrape
UNKNOWN_FOR = timedelta(minutes=5)  # how long the condition may have been true before an alert without rule fired


@dataclass(frozen=True)
class Readers:
    """Where traces can be looked for."""

    store: Store
    prometheus: Sequence[Prometheus]
    settings: Settings
    request_metrics: tuple[str, ...] = REQUEST_METRICS


@dataclass(frozen=True)
class Found:
    """What one strategy came up with; `missing` says what kept it from finding more, with the remedy."""

    traces: tuple[TraceRef, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()
    missing: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Question:
    """
    One alert with what is known about its rule. `own_labels` are those that come from the rule and not from the series.

    `servers` are those that answer and are responsible. [since, until) is when what made the alert fire must have
    happened; exemplars may be one scrape interval older.
    """

    alert: Episode
    readers: Readers
    servers: tuple[Prometheus, ...]
    expr: str
    active_at: datetime | None
    value: float | None
    own_labels: frozenset[str]
    since: datetime
    until: datetime
    missing: tuple[Note, ...] = field(default=())

    def agrees(self, labels: Labels) -> bool:
        """Whether a series with *labels* can be one this alert is about: what both have is equal."""
        both = (self.alert.labels.keys() & labels.keys()) - self.own_labels
        return all(self.alert.labels[name] == labels[name] for name in both)


def question_about(alert: Episode, readers: Readers) -> Question:
    """Ask Prometheus about the rule behind *alert*. A server that does not answer becomes a note."""
    servers = responsible(readers.prometheus, alert.labels)
    rules: list[AlertingRule] = []
    missing = () if servers else (_no_server(readers),)
    for server, answer in ask_all(servers, Prometheus.rules):
        if isinstance(answer, UpstreamError):
            missing = (*missing, unreachable(answer))
        else:
            rules += answer
        if isinstance(answer, NoAnswer):
            servers = tuple(each for each in servers if each is not server)
    rule, active = find_rule(alert, rules)
    expr = expression_of(alert.generator_url) or (rule.expr if rule else "") or alert.expr or ""
    active_at = active.active_at if active else alert.active_at
    since, until = window(alert, expr, active_at, rule)
    return Question(
        alert=alert,
        readers=readers,
        servers=servers,
        expr=expr,
        active_at=active_at,
        value=active.value if active else alert.value,
        own_labels=frozenset({"alertname", "le", "quantile", *(rule.labels if rule else ())}),
        since=since,
        until=until,
        missing=missing,
    )


def responsible(servers: Sequence[Prometheus], labels: Labels) -> tuple[Prometheus, ...]:
    """Those that know about alerts with *labels* (setting `prometheus.match`)."""
    return tuple(
        each for each in servers if all(labels.get(name) == value for name, value in each.server.match.items())
    )


def _no_server(readers: Readers) -> Note:
    if readers.prometheus:
        return Note("No Prometheus server is responsible for the labels of this alert.", "see prometheus.match")
    return Note("No Prometheus server is configured, so no exemplars were asked for.", "add one under prometheus")


def unreachable(err: UpstreamError) -> Note:
    return Note(f"{err}.", "check prometheus.url and its credentials; exemplars are overwritten within minutes")


def find_rule(alert: Episode, rules: Sequence[AlertingRule]) -> tuple[AlertingRule | None, ActiveAlert | None]:
    """
    The rule that raised *alert* and its entry there: the one that shares most labels and contradicts none.

    Prometheus adds external labels to what it sends, so the alert as received has more. Between rules of one name the
    expression in the alert's own link decides.
    """
    expr = expression_of(alert.generator_url)
    named = [rule for rule in rules if rule.name == alert.alertname]
    named.sort(key=lambda rule: _plain(rule.expr) != _plain(expr))
    entries = [
        (len(entry.labels.items() & alert.labels.items()), -at, rule, entry)
        for at, rule in enumerate(named)
        for entry in rule.alerts
        if all(alert.labels.get(name, value) == value for name, value in entry.labels.items())
    ]
    if entries:
        _, _, rule, entry = max(entries, key=lambda each: each[:2])
        return rule, entry
    fitting = [rule for rule in named if rule.labels.items() <= alert.labels.items()]
    return next(iter([*fitting, *named]), None), None


def _plain(expr: str) -> str:
    return "".join(expr.split())


def window(
    alert: Episode, expr: str, active_at: datetime | None, rule: AlertingRule | None
) -> tuple[datetime, datetime]:
    """
    From where the first sample of the expression came that made it true, to now or to the end of the alert.

    `startsAt` is when the alert fired, its rule's `for` after the condition became true.
    """
    waited = timedelta(seconds=rule.duration_s) if rule else UNKNOWN_FOR
    true_at = active_at or alert.starts_at - waited
    since = true_at - timedelta(seconds=longest_range_s(expr)) - MARGIN
    ended_at = alert.ends_at if alert.status == "resolved" else None
    return since, (ended_at or utc_now()) + MARGIN


def weaker(refs: Sequence[TraceRef], factor: float) -> tuple[TraceRef, ...]:
    return tuple(replace(ref, confidence=round(ref.confidence * factor, 2)) for ref in refs)
