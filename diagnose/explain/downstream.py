"""
Dependencies: the added time is spent in another service, or in a call to something that sends no spans itself.

Needs spans of the incident and of the healthy time, of the called service too if it is to be looked into. Goroutine
polling (kind wall) shows the caller waiting, which a CPU profile cannot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from diagnose.explain.evidence import Evidence
from diagnose.explain.requests import Part, Slowdown, look_at_requests
from diagnose.explain.result import STRONG_Z, Result
from diagnose.explain.waiting import waiting_functions
from diagnose.explain.wording import code, number, percent, seconds, short
from diagnose.model import Effect, Finding, Note, Subject

NS = 1e9
SMALLEST_SHARE = 0.2  # of the added time
LARGE_SHARE = 0.5
MANY_CALLS = 5
SEEN_FROM_OUTSIDE = 0.9  # what slows the dependency down is not looked into here


def find_downstream(evidence: Evidence) -> Result:
    slowdown = evidence.once(look_at_requests).slowdown
    if slowdown is None:
        return Result()
    by_dependency = _by_dependency(evidence.incident.service_name, slowdown.parts)
    worst = max(by_dependency, key=lambda name: _added(by_dependency[name]), default=None)
    findings = []
    if worst is not None and slowdown.share(_added(by_dependency[worst])) >= SMALLEST_SHARE:
        findings = [_finding(evidence, worst, by_dependency[worst], slowdown)]
    calm = {name: parts for name, parts in by_dependency.items() if slowdown.share(_added(parts)) < 0.05}
    return Result(findings=tuple(findings), ruled_out=_unchanged(calm, slowdown))


def _by_dependency(service: str, parts: Sequence[Part]) -> Mapping[str, list[Part]]:
    """Parts of other services by service; of this one those calls that lead to something without spans."""
    found: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        if part.service != service:
            found[part.service].append(part)
        elif part.peer:
            found[part.peer].append(part)
    return found


def _added(parts: Sequence[Part]) -> float:
    return sum(part.added_ns for part in parts)


def _finding(evidence: Evidence, name: str, parts: Sequence[Part], slowdown: Slowdown) -> Finding:
    route = slowdown.route
    added = _added(parts)
    top = max(parts, key=lambda part: part.added_ns)
    before = sum(part.before_ns for part in parts)
    share = slowdown.share(added)
    called = f" (calls to {_peer(top)})" if top.peer else ""
    is_repeated = _is_repeated(top)
    return Finding(
        kind="n_plus_one" if is_repeated else "downstream",
        statement=(
            f"{_complaint(name, top, is_repeated=is_repeated)}: {percent(share)} of the "
            f"{seconds(slowdown.added_ns / NS)} that slow requests of {route.name} take longer is spent there, in span "
            f"{code(top.name)}{called}: {seconds(top.during_ns / NS)}, {seconds(top.before_ns / NS)} before "
            f"({slowdown.slow} slow requests against {slowdown.normal} normal ones, z = {number(route.z)})."
            f"{_callers(evidence)}"
        ),
        subject=Subject("dependency", name),
        effect=Effect(added / NS, "seconds per request", before / NS, (before + added) / NS),
        significance={"method": "share of requests above the healthy 99th percentile", "z": route.z},
        confidence="strong" if share >= LARGE_SHARE and route.z >= STRONG_Z else "likely",
        evidence=route.slowest,
        sql=slowdown.sql,
        weight=SEEN_FROM_OUTSIDE * slowdown.explained(added),
    )


def _is_repeated(part: Part) -> bool:
    """Asked for far more often than before, and not slower each time: the caller is to blame."""
    more = part.calls_during >= max(MANY_CALLS, 3 * part.calls_before)
    return more and part.during_ns / part.calls_during < 2 * part.before_ns / max(part.calls_before, 1.0)


def _complaint(name: str, part: Part, *, is_repeated: bool) -> str:
    if not is_repeated:
        return f"{code(name)} is slow"
    times = f"{number(part.calls_during)} times per request, {number(part.calls_before)} before"
    return f"{code(name)} is asked {times}"


def _peer(part: Part) -> str:
    return f"{part.db_system} at {part.peer}" if part.db_system not in ("", part.peer) else part.peer


def _callers(evidence: Evidence) -> str:
    waiting = evidence.once(waiting_functions)
    if not waiting:
        return ""
    top = waiting[0]
    return (
        f" Polled goroutines show {number(top.change.during / NS)} requests at a time waiting in "
        f"{code(short(top.change.function))}, {number(top.change.before / NS)} before."
    )


def _unchanged(calm: Mapping[str, Sequence[Part]], slowdown: Slowdown) -> tuple[Note, ...]:
    return tuple(
        Note(
            f"Dependency {name}: {seconds((sum(part.before_ns for part in parts) + _added(parts)) / NS)} per request "
            f"({seconds(sum(part.before_ns for part in parts) / NS)} before)",
            sql=slowdown.sql,
        )
        for name, parts in sorted(calm.items())
    )
