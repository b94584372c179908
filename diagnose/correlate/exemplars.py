"""
Exemplars: of the rule's own expression, or else of the request metrics of the same service.

`query_exemplars` takes any PromQL and picks the selectors out of it, so the expression of the alert is passed as it is.
A gauge has no exemplars (go_goroutines cannot); then the requests the service answered meanwhile are the next best.
"""

from __future__ import annotations

from collections.abc import Iterable

from diagnose.correlate.question import Found, Question, Readers
from diagnose.errors import UpstreamError
from diagnose.model import Exemplar, Labels, Note, TraceRef
from diagnose.prometheus import Prometheus, ask_all

REQUEST_METRICS = (
    "http_request_duration_seconds_bucket",
    "http_server_request_duration_seconds_bucket",
    "grpc_server_handling_seconds_bucket",
    "rpc_server_duration_milliseconds_bucket",
    "traces_span_metrics_duration_milliseconds_bucket",
)
ABOUT_THE_SERIES = frozenset({"alertname", "severity"})  # labels that only the alert has
OFF = Note(
    "exemplars are off in Prometheus {name}: no trace could be taken from the alert's own metrics",
    fix="start Prometheus with --enable-feature=exemplar-storage",
)
NONE_STORED = Note(
    "the alert's metrics carried no exemplars in the window",
    fix="record them with the trace id (ObserveWithExemplar) and serve /metrics as OpenMetrics",
)


def find(question: Question, readers: Readers, so_far: Found) -> Found:  # noqa: ARG001  the signature of a strategy
    """Largest observation first: of a latency alert these are the slow requests."""
    servers = readers.servers_for(question.episode)
    own, missing = _ask(servers, question.expr, question) if question.expr else ([], [])
    if own:
        return Found(_refs(own, question, 0.95, "exemplar of the alert's expression"), tuple(own))
    requests, failures = _ask(servers, _requests_of(question), question)
    notes = list(dict.fromkeys([*missing, *failures])) or _why_none(servers, requests)
    return Found(_refs(requests, question, 0.6, "exemplar of the service's requests"), tuple(requests), tuple(notes))


def _requests_of(question: Question) -> str:
    """Request metrics of the alert's job and instance, whichever name they go by."""
    labels = question.episode.labels
    chosen = {name: labels[name] for name in ("job", "instance") if labels.get(name)}
    if not chosen:
        chosen = {"job": question.service}
    selector = ",".join(f'{name}="{_escaped(value)}"' for name, value in chosen.items())
    return " or ".join(f"{metric}{{{selector}}}" for metric in REQUEST_METRICS)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _ask(servers: Iterable[Prometheus], expr: str, question: Question) -> tuple[list[Exemplar], list[Note]]:
    def ask(server: Prometheus) -> list[Exemplar]:
        return server.query_exemplars(expr, question.since, question.until)

    exemplars: list[Exemplar] = []
    missing: list[Note] = []
    for _, answer in ask_all(list(servers), ask):
        if isinstance(answer, UpstreamError):
            missing.append(Note(f"no exemplars: {answer}", fix="check the setting `prometheus` and the server"))
        else:
            exemplars += answer
    return exemplars, missing


def _why_none(servers: Iterable[Prometheus], found: list[Exemplar]) -> list[Note]:
    if found:
        return []
    switched_off = [
        Note(OFF.statement.format(name=server.name), OFF.fix)
        for server, answer in ask_all(list(servers), lambda each: each.stores_exemplars())
        if answer is False
    ]
    return switched_off or [NONE_STORED]


def _refs(exemplars: Iterable[Exemplar], question: Question, confidence: float, evidence: str) -> tuple[TraceRef, ...]:
    """One per trace, its largest observation; those whose series contradicts the alert's labels come last."""
    best: dict[str, TraceRef] = {}
    for each in exemplars:
        sure = confidence if _agrees(each.labels, question.episode.labels) else confidence / 2
        ref = TraceRef(each.trace_id, "exemplar", sure, 0, each.value, each.at, f"{evidence}: {each.metric_name}")
        known = best.get(each.trace_id)
        if known is None or _order(ref) < _order(known):
            best[each.trace_id] = ref
    return tuple(sorted(best.values(), key=_order)[: question.trace_limit])


def _order(ref: TraceRef) -> tuple[float, float]:
    return -ref.confidence, -(ref.metric_value or 0.0)


def _agrees(series: Labels, alert: Labels) -> bool:
    return all(
        series[name] == value for name, value in alert.items() if name in series and name not in ABOUT_THE_SERIES
    )
