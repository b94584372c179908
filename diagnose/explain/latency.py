"""
Latency: the span of the service itself in which slow requests spend the time they did not spend before.

Needs spans of the incident and of the healthy time. A span says where, not why: when a function is found to run in it,
ranking.py puts the function first.
"""

from __future__ import annotations

from diagnose.explain.evidence import Evidence
from diagnose.explain.requests import Part, Slowdown, look_at_requests
from diagnose.explain.result import STRONG_Z, Result
from diagnose.explain.wording import code, number, percent, seconds
from diagnose.model import Effect, Finding, Subject

NS = 1e9
SMALLEST_SHARE = 0.2  # of the added time
LARGE_SHARE = 0.5
WHERE_NOT_WHY = 0.75


def find_latency(evidence: Evidence) -> Result:
    requests = evidence.once(look_at_requests)
    if requests.slowdown is None:
        return Result(ruled_out=requests.ruled_out, missing=requests.missing)
    slowdown = requests.slowdown
    own = [part for part in slowdown.parts if part.service == evidence.incident.service_name and not part.peer]
    findings = [_finding(part, slowdown) for part in own[:1] if slowdown.share(part.added_ns) >= SMALLEST_SHARE]
    return Result(findings=tuple(findings))


def _finding(part: Part, slowdown: Slowdown) -> Finding:
    share = slowdown.share(part.added_ns)
    route = slowdown.route
    return Finding(
        kind="latency",
        statement=(
            f"Slow requests of {route.name} take {seconds(slowdown.added_ns / NS)} longer{slowdown.instances}; "
            f"{percent(share)} of that is own time of span {code(part.name)} in {part.service}: "
            f"{seconds(part.during_ns / NS)}, {seconds(part.before_ns / NS)} before "
            f"({slowdown.slow} slow requests against {slowdown.normal} normal ones, z = {number(route.z)})."
        ),
        subject=Subject("span", part.name),
        effect=Effect(part.added_ns / NS, "seconds per request", part.before_ns / NS, part.during_ns / NS),
        significance={"method": "share of requests above the healthy 99th percentile", "z": route.z},
        confidence="strong" if share >= LARGE_SHARE and route.z >= STRONG_Z else "likely",
        evidence=route.slowest,
        sql=slowdown.sql,
        weight=WHERE_NOT_WHY * slowdown.explained(part.added_ns),
    )
