"""
Exemplars: the requests that Prometheus remembers beside its numbers.

First those of the rule's own expression, the sick side of it before the rest. A rule on a gauge has none; then those of
the request metrics of the same process or job, which ran there at that time but did not make the alert fire.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from diagnose.correlate.expression import (
    can_have_exemplars,
    comparison,
    fires_when_high,
    numerators,
)
from diagnose.correlate.question import Found, Question, unreachable
from diagnose.errors import UpstreamError
from diagnose.model import Exemplar, Labels, Note, TraceRef
from diagnose.prometheus import DEFAULT_SCRAPE_INTERVAL_S, Prometheus, ask_all

MAX_TRACES = 20
MAX_REQUEST_TRACES = 10
MAX_STORED = 1000

OF_THE_SICK_SIDE = 1.0
OF_OTHER_SERIES = 0.6  # nothing that the labels of the alert agree with
OF_THE_HEALTHY_SIDE = 0.5  # below the threshold, or the denominator of a ratio
OF_REQUESTS = 0.5

IsSick = Callable[[Exemplar], bool]


def of_the_expression(question: Question) -> Found:
    """Those of the series in the rule's expression that agree with the alert's labels."""
    if not question.expr or not question.servers:
        return Found()
    exemplars, missing = _ask(question, question.expr)
    if not exemplars:
        return Found(missing=(*missing, *_why_none(question)))
    own = [each for each in exemplars if question.agrees(each.labels)]
    chosen = own or exemplars
    is_sick = sick_side(question.expr)
    traces = [
        _ref(each, _confidence(sick=is_sick(each), own=bool(own)))
        for each in sorted(chosen, key=lambda each: (not is_sick(each), -each.value, -each.at.timestamp()))
    ]
    return Found(distinct(traces, MAX_TRACES), tuple(chosen[:MAX_STORED]), missing)


def of_the_requests(question: Question) -> Found:
    """The slowest of the same process, or job, in the window; whatever the rule is about."""
    expr = request_expression(question.alert.labels, question.readers.request_metrics)
    if expr is None or not question.servers:
        return Found()
    exemplars, missing = _ask(question, expr)
    own = [each for each in exemplars if question.agrees(each.labels)]
    slowest = sorted(own, key=lambda each: (-_seconds(each), -each.at.timestamp()))
    traces = [_ref(each, OF_REQUESTS) for each in slowest]
    return Found(distinct(traces, MAX_REQUEST_TRACES), tuple(slowest[:MAX_STORED]), missing)


def sick_side(expr: str) -> IsSick:
    """
    Which exemplars of *expr* are of requests that make the alert fire; all of them when the text does not tell.

        histogram_quantile(0.99, rate(d_bucket[5m])) > 0.5        observations above 0.5
        rate(x{code=~"5.."}[5m]) / rate(x[5m]) > 0.05             series with code 5..
        rate(x{code!~"5.."}[5m]) / rate(x[5m]) < 0.99             the others
    """
    parts = numerators(expr)
    if parts:
        high = fires_when_high(expr)
        return lambda each: any(part.accepts(each.metric_name, each.labels) for part in parts) == high
    compared = comparison(expr)
    if compared and compared.operator in (">", ">=") and "histogram_quantile" in expr:
        threshold = compared.threshold
        return lambda each: each.value > threshold
    return lambda _: True


def request_expression(labels: Labels, metrics: Iterable[str]) -> str | None:
    """Selects *metrics* of the process or service that *labels* name; None when they name neither."""
    name = f"__name__=~{json.dumps('|'.join(metrics))}"
    service = labels.get("service_name") or labels.get("service")
    ways = [("job", labels.get("job")), ("service_name", service), ("job", None if labels.get("job") else service)]
    selectors = [f"{{{name},{label}={json.dumps(value, ensure_ascii=False)}}}" for label, value in ways if value]
    return " or ".join(dict.fromkeys(selectors)) or None


def distinct(refs: Sequence[TraceRef], limit: int) -> tuple[TraceRef, ...]:
    """The first ref of each trace, at most *limit*."""
    first: dict[str, TraceRef] = {}
    for ref in refs:
        first.setdefault(ref.trace_id, ref)
    return tuple(first.values())[:limit]


def _ask(question: Question, expr: str) -> tuple[list[Exemplar], tuple[Note, ...]]:
    """All exemplars in the window from all servers, each once, newest first."""
    found: dict[tuple[str, str, float, str], Exemplar] = {}
    missing: list[Note] = []

    def ask(server: Prometheus) -> list[Exemplar]:
        return server.query_exemplars(expr, question.since - lateness(server), question.until)

    for _, answer in ask_all(question.servers, ask):
        if isinstance(answer, UpstreamError):
            missing.append(unreachable(answer))
            continue
        for each in answer:
            found.setdefault((each.trace_id, each.metric_name, each.value, each.at.isoformat()), each)
    return sorted(found.values(), key=lambda each: each.at, reverse=True), tuple(missing)


def lateness(server: Prometheus) -> timedelta:
    """How old an observation can be before it is scraped."""
    try:
        return timedelta(seconds=server.scrape_interval_s)
    except UpstreamError:
        return timedelta(seconds=DEFAULT_SCRAPE_INTERVAL_S)


def _why_none(question: Question) -> list[Note]:
    notes = []
    for server, on in ask_all(question.servers, Prometheus.stores_exemplars):
        if on is False:
            statement = f"Exemplar storage is off in Prometheus {server.name}, so it cannot name a single request."
            notes.append(Note(statement, "start it with --enable-feature=exemplar-storage"))
        elif can_have_exemplars(question.expr) and not isinstance(on, UpstreamError):
            statement = f"The series of {question.alert.alertname} have no exemplars in Prometheus {server.name}."
            fix = "record them with the trace id (ExemplarObserver) and serve OpenMetrics (EnableOpenMetrics: true)"
            notes.append(Note(statement, fix))
    return notes


def _confidence(*, sick: bool, own: bool) -> float:
    confidence = OF_THE_SICK_SIDE if sick else OF_THE_HEALTHY_SIDE
    return confidence if own else round(confidence * OF_OTHER_SERIES, 2)


def _ref(exemplar: Exemplar, confidence: float) -> TraceRef:
    shown = {name: value for name, value in sorted(exemplar.labels.items()) if name in ("route", "code", "le")}
    inside = ",".join(f'{name}="{value}"' for name, value in shown.items())
    return TraceRef(
        trace_id=exemplar.trace_id,
        found_by="exemplar",
        confidence=confidence,
        metric_value=exemplar.value,
        seen_at=exemplar.at,
        evidence=f"exemplar of {exemplar.metric_name}" + (f"{{{inside}}}" if inside else ""),
    )


def _seconds(exemplar: Exemplar) -> float:
    return exemplar.value / 1000 if "milliseconds" in exemplar.metric_name else exemplar.value
