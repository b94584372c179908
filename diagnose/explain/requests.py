"""
Requests before and during the incident: which route got slower, and which spans the added time is spent in.

Own time of a span is its duration without what its children cover. Slow requests are those above the healthy 99th
percentile; they are compared with requests of the healthy window on the same route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.explain.evidence import Evidence
from diagnose.explain.result import LIKELY_Z
from diagnose.explain.wording import listed
from diagnose.model import Note

FEWEST_HEALTHY = 20
SLOW_SHARE = 0.03
SMALLEST_ADDED = 0.2  # of the healthy mean
ROUTE_LABELS = ("http_route", "route", "path", "handler")


@dataclass(frozen=True)
class Route:
    """Requests of one route; `z` tests the share above the healthy 99th percentile. `slowest`: trace ids."""

    name: str
    before: int
    during: int
    slow_during: int
    mean_before_ns: float
    mean_during_ns: float
    p99_before_ns: float
    z: float
    slowest: tuple[str, ...]

    @property
    def is_slower(self) -> bool:
        return (
            self.before >= FEWEST_HEALTHY
            and self.z >= LIKELY_Z
            and self.slow_during >= SLOW_SHARE * self.during
            and self.mean_during_ns > self.mean_before_ns
        )


@dataclass(frozen=True)
class Part:
    """
    Own time of one span, mean per request, in the slow requests and in the healthy ones.

    `peer` is what a call leads to that sends no spans itself; empty otherwise.
    """

    service: str
    name: str
    kind: str
    peer: str
    db_system: str
    before_ns: float
    during_ns: float
    calls_before: float
    calls_during: float

    @property
    def added_ns(self) -> float:
        return self.during_ns - self.before_ns


@dataclass(frozen=True)
class Slowdown:
    """A slower route and its parts, the most added first. `sql` shows the parts."""

    route: Route
    parts: tuple[Part, ...]
    slow: int
    normal: int
    instances: str
    sql: str

    @property
    def added_ns(self) -> float:
        return sum(part.added_ns for part in self.parts)

    @property
    def during_ns(self) -> float:
        return sum(part.during_ns for part in self.parts)

    def share(self, added_ns: float) -> float:
        """Part of the added time, at most 1."""
        return min(1.0, added_ns / self.added_ns) if self.added_ns > 0 else 0.0

    def explained(self, added_ns: float) -> float:
        """Part of the whole duration of a slow request that *added_ns* is."""
        return min(1.0, max(0.0, added_ns) / self.during_ns) if self.during_ns > 0 else 0.0


@dataclass(frozen=True)
class Requests:
    """`slowdown` is None when no route got slower; `notes` say so, or why it is not known."""

    routes: tuple[Route, ...]
    slowdown: Slowdown | None
    ruled_out: tuple[Note, ...] = ()
    missing: tuple[Note, ...] = ()


def look_at_requests(evidence: Evidence) -> Requests:
    windows = {
        "service": evidence.incident.service_name,
        **evidence.healthy_literals,
        **evidence.sick_literals,
    }
    answer = evidence.ask("requests", "routes", **windows)
    routes = tuple(_route(row) for row in answer.rows)
    slower = [each for each in routes if each.is_slower]
    if not slower:
        return _not_slower(routes, answer.sql)
    route = next((each for each in slower if each.name in _alerted_routes(evidence)), slower[0])
    parts = evidence.ask("requests", "parts", **windows, route=route.name, p99_ns=route.p99_before_ns)
    first = parts.rows[0]
    slowdown = Slowdown(
        route,
        tuple(_part(row) for row in parts.rows),
        int(first["slow"]),
        int(first["normal"]),
        _instances(evidence, route),
        parts.sql,
    )
    if slowdown.added_ns < SMALLEST_ADDED * route.mean_before_ns:
        return _not_slower(routes, answer.sql)
    return Requests(routes, slowdown)


def _route(row: Mapping[str, Any]) -> Route:
    return Route(
        name=row["route"],
        before=row["before"],
        during=row["during"],
        slow_during=row["slow_during"],
        mean_before_ns=float(row["mean_before_ns"] or 0),
        mean_during_ns=float(row["mean_during_ns"] or 0),
        p99_before_ns=float(row["p99_ns"] or 0),
        z=float(row["z"] or 0),
        slowest=tuple(row["slowest"] or ()),
    )


def _part(row: Mapping[str, Any]) -> Part:
    leads_out = row["kind"] in ("CLIENT", "PRODUCER") and not row["has_callee"]
    return Part(
        service=row["service_name"],
        name=row["name"],
        kind=row["kind"],
        peer=(row["peer"] or "") if leads_out else "",
        db_system=row["db_system"] or "",
        before_ns=float(row["before_ns"]),
        during_ns=float(row["during_ns"]),
        calls_before=float(row["calls_before"]),
        calls_during=float(row["calls_during"]),
    )


def _alerted_routes(evidence: Evidence) -> set[str]:
    return {episode.labels[label] for episode in evidence.episodes for label in ROUTE_LABELS if label in episode.labels}


def _instances(evidence: Evidence, route: Route) -> str:
    """`, on checkout-2 only (not on checkout-1)` when at least two instances serve and some of them are not slow."""
    rows = evidence.ask(
        "requests",
        "instances",
        service=evidence.incident.service_name,
        route=route.name,
        p99_ns=route.p99_before_ns,
        **evidence.sick_literals,
    ).rows
    slow = [row["instance"] for row in rows if row["slow"] >= max(3, 0.1 * row["requests"])]
    calm = [
        row["instance"] for row in rows if row["slow"] < 0.05 * row["requests"] and row["requests"] >= FEWEST_HEALTHY
    ]
    return f", on {listed(slow)} only (not on {listed(calm)})" if slow and calm else ""


def _not_slower(routes: tuple[Route, ...], sql: str) -> Requests:
    during = sum(route.during for route in routes)
    known = [route for route in routes if route.before >= FEWEST_HEALTHY and route.during]
    if known:
        busiest = max(known, key=lambda route: route.during)
        slow = f"{busiest.slow_during} of {busiest.during} requests of {busiest.name}"
        text = f"Latency: {slow} took longer than 99 % did before"
        return Requests(routes, None, ruled_out=(Note(text, sql=sql),))
    if during:
        note = Note(
            "Which spans got slower: there are no spans of this service from before the incident to compare with.",
            fix="Keep traces of healthy requests too: send a share of all, not only slow and failed ones.",
            sql=sql,
        )
    else:
        note = Note(
            "Where requests spend their time: there are no spans of this service from the time of the incident.",
            fix="Send its traces to POST /v1/traces (collector: an otlp_http exporter; see collector-config/).",
            sql=sql,
        )
    return Requests(routes, None, missing=(note,))
