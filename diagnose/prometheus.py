"""
What is asked of a Prometheus server (or anything with its HTTP API): exemplars, rules, targets, values, flags.

https://prometheus.io/docs/prometheus/latest/querying/api/ — the shapes are the same from 2.42 to 3.x. Every failure is
an UpstreamError whose text names the server and what to do about it, without credentials.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, TypeVar

from diagnose.config import PrometheusServer, parse_duration
from diagnose.errors import UpstreamError
from diagnose.model import Exemplar, Labels
from diagnose.upstream import Upstream

Answer = TypeVar("Answer")

DEFAULT_SCRAPE_INTERVAL_S = 60.0

# What the exemplars of different libraries call the two ids; compared in lower case without separators.
TRACE_ID_NAMES = frozenset({"traceid", "oteltraceid", "ddtraceid", "xtraceid"})
SPAN_ID_NAMES = frozenset({"spanid", "otelspanid", "ddspanid", "xspanid"})


@dataclass(frozen=True)
class ActiveAlert:
    """An alert as the rule has it: without external labels; `active_at` is when the condition became true."""

    labels: Labels
    active_at: datetime
    value: float
    state: str


@dataclass(frozen=True)
class AlertingRule:
    """`duration_s` is the rule's `for`; `labels` are those the rule adds."""

    name: str
    expr: str
    duration_s: float
    labels: Labels
    alerts: tuple[ActiveAlert, ...]


@dataclass(frozen=True)
class DiscoveredTarget:
    """A process that is scraped: `labels` as its series have them, `discovered_labels` before relabelling."""

    labels: Labels
    discovered_labels: Labels
    scrape_url: str
    health: str
    scrape_interval_s: float


@dataclass(frozen=True)
class Series:
    """Points are (time, value), oldest first."""

    labels: Labels
    points: tuple[tuple[datetime, float], ...]


class Prometheus:
    """One server. Its methods may be called from several threads; each asks once and waits at most *timeout_s*."""

    def __init__(self, server: PrometheusServer, timeout_s: float = 2.0) -> None:
        self.server = server
        self.name = server.name
        self.timeout_s = timeout_s
        self._upstream = Upstream(server, server.url, f"Prometheus {server.name}")

    def query_exemplars(self, expr: str, start: datetime, end: datetime) -> list[Exemplar]:
        """
        The exemplars of every series that *expr* selects anywhere; the expression of an alert can be passed as it is.

        Those without a usable trace id are left out. Exemplar storage that is off answers an empty list too.
        """
        parameters = {"query": expr, "start": _unix(start), "end": _unix(end)}
        return self._get("query_exemplars", parameters, _all_exemplars)

    def rules(self) -> list[AlertingRule]:
        """The alerting rules with their alerts, pending ones too."""
        return self._get("rules", {"type": "alert"}, _rules)

    def targets(self) -> list[DiscoveredTarget]:
        """What is scraped now, up or down."""
        return self._get("targets", {"state": "active"}, _targets)

    def query(self, expr: str, at: datetime) -> list[Series]:
        """The value of *expr* at one moment; a scalar is one series without labels."""
        return self._get("query", {"query": expr, "time": _unix(at)}, _series)

    def query_range(self, expr: str, start: datetime, end: datetime, step_s: float) -> list[Series]:
        parameters = {"query": expr, "start": _unix(start), "end": _unix(end), "step": str(step_s)}
        return self._get("query_range", parameters, _series)

    def flags(self) -> dict[str, str]:
        """The command line flags by name, without dashes."""
        return self._get("status/flags", {}, dict)

    def stores_exemplars(self) -> bool | None:
        """Whether exemplar storage is on; None when this server has no such flag (Mimir, Thanos)."""
        features = self.flags().get("enable-feature")
        return None if features is None else "exemplar-storage" in features

    @cached_property
    def scrape_interval_s(self) -> float:
        """The longest interval of any active target: how late a sample can be."""
        return max((target.scrape_interval_s for target in self.targets()), default=DEFAULT_SCRAPE_INTERVAL_S)

    def _get(self, path: str, parameters: Mapping[str, str], read: Callable[[Any], Answer]) -> Answer:
        """What *read* makes of the `data` of one answer; a 4xx or 5xx of Prometheus says in it what was wrong."""
        answered = self._upstream.ask(f"/api/v1/{path}", parameters, timeout_s=self.timeout_s)
        if answered.status >= 300 and not answered.body.lstrip().startswith(b"{"):
            raise UpstreamError(f"{self._upstream.name} answered HTTP {answered.status}")
        try:
            answer = json.loads(answered.body)
            if answer["status"] == "success":
                return read(answer.get("data") or {})
            problem = f"{answer['errorType']}: {answer['error']}"
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise UpstreamError(f"{self._upstream.name}: the answer of {path} has an unknown shape") from err
        raise UpstreamError(f"{self._upstream.name}: {path} failed: {problem[:500]}")


def ask_all(
    servers: Sequence[Prometheus], question: Callable[[Prometheus], Answer]
) -> list[tuple[Prometheus, Answer | UpstreamError]]:
    """Ask all *servers* at once; an error takes the place of the answer. In the order of *servers*."""
    if not servers:
        return []
    with ThreadPoolExecutor(len(servers), thread_name_prefix="prometheus") as pool:
        return list(zip(servers, pool.map(lambda server: _ask(server, question), servers), strict=True))


def _ask(server: Prometheus, question: Callable[[Prometheus], Answer]) -> Answer | UpstreamError:
    try:
        return question(server)
    except UpstreamError as err:
        return err


def trace_id_of(labels: Labels) -> str:
    """The trace id among the labels of an exemplar, alert or sample, as 32 lower-case hex digits; empty without one."""
    return _id_of(labels, TRACE_ID_NAMES, 32)


def span_id_of(labels: Labels) -> str:
    """The span id as 16 lower-case hex digits; empty without one."""
    return _id_of(labels, SPAN_ID_NAMES, 16)


def is_id_label(name: str) -> bool:
    """Whether a label of this name holds a trace or span id."""
    return _folded(name) in {*TRACE_ID_NAMES, *SPAN_ID_NAMES}


def _id_of(labels: Labels, names: Iterable[str], digits: int) -> str:
    for name, value in labels.items():
        if _folded(name) in names:
            return normal_id(value, digits)
    return ""


@lru_cache(maxsize=4096)
def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "").replace("-", "").replace(".", "")


def normal_id(text: str, digits: int) -> str:
    """
    An id as the spans have it; empty for what is no id.

    Shorter ones are filled with zeros from the left, as OpenTelemetry does with the 64-bit trace ids of B3:

        "A1B2"  →  "0000…a1b2"        "0000"  →  ""        "not-hex"  →  ""
    """
    lowered = text.strip().lower().removeprefix("0x")
    if not lowered or len(lowered) > digits or set(lowered) - set("0123456789abcdef") or not lowered.strip("0"):
        return ""
    return lowered.zfill(digits)


def parse_time(text: str) -> datetime:
    """RFC 3339 as Go writes it; digits beyond the microsecond are cut."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _unix(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def _all_exemplars(data: Any) -> list[Exemplar]:
    return [exemplar for series in data for exemplar in _exemplars(series)]


def _exemplars(series: Mapping[str, Any]) -> list[Exemplar]:
    labels = dict(series.get("seriesLabels", {}))
    name = labels.pop("__name__", "")
    found = []
    for exemplar in series.get("exemplars", []):
        trace_id = trace_id_of(exemplar["labels"])
        if trace_id:
            span_id = span_id_of(exemplar["labels"])
            at = _moment(float(exemplar["timestamp"]))
            found.append(Exemplar(name, labels, trace_id, span_id, float(exemplar["value"]), at))
    return found


def _rules(data: Any) -> list[AlertingRule]:
    found = [rule for group in data.get("groups", []) for rule in group.get("rules", [])]
    return [_rule(rule) for rule in found if rule.get("type", "alerting") == "alerting"]


def _rule(rule: Mapping[str, Any]) -> AlertingRule:
    return AlertingRule(
        name=rule["name"],
        expr=rule["query"],
        duration_s=float(rule.get("duration", 0)),
        labels=rule.get("labels") or {},
        alerts=tuple(_active(alert) for alert in rule.get("alerts") or []),
    )


def _active(alert: Mapping[str, Any]) -> ActiveAlert:
    return ActiveAlert(alert["labels"], parse_time(alert["activeAt"]), float(alert["value"]), alert["state"])


def _targets(data: Any) -> list[DiscoveredTarget]:
    return [_target(target) for target in data.get("activeTargets", [])]


def _target(target: Mapping[str, Any]) -> DiscoveredTarget:
    return DiscoveredTarget(
        labels=target.get("labels") or {},
        discovered_labels=target.get("discoveredLabels") or {},
        scrape_url=target.get("scrapeUrl", ""),
        health=target.get("health", "unknown"),
        scrape_interval_s=_interval_s(target.get("scrapeInterval", "")),
    )


def _interval_s(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError:
        return DEFAULT_SCRAPE_INTERVAL_S


def _series(data: Any) -> list[Series]:
    result = data.get("result", [])
    if data.get("resultType") in ("scalar", "string"):
        return [Series({}, (_point(result),))] if data["resultType"] == "scalar" else []
    return [Series(each["metric"], tuple(map(_point, each.get("values") or [each["value"]]))) for each in result]


def _point(pair: Sequence[Any]) -> tuple[datetime, float]:
    return _moment(float(pair[0])), float(pair[1])
