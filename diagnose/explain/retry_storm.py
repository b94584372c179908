"""
Retry storms: requests that repeat a failing call many times over.

Needs spans of the incident, client spans of the service among them; those of the healthy time tell whether it is new.
The call fails for a reason of its own, but the repeating multiplies the load on what is called and keeps it down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.explain.evidence import Evidence
from diagnose.explain.result import LIKELY_Z, STRONG_Z, Result
from diagnose.explain.wording import code, number, percent
from diagnose.model import Effect, Finding, Subject
from diagnose.pprof.significance import z_of_share

OFTEN = 5  # failures of one call in one request; a client that tries three times is no storm
FEWEST_REQUESTS = 5
SMALLEST_SHARE = 0.1  # of the requests
LARGE_SHARE = 0.3


@dataclass(frozen=True)
class Storm:
    """A call that `storms` of `requests` repeat although it fails, `times` on average."""

    name: str
    callee: str
    calls_before: float
    calls_during: float
    failed_share: float
    storms: int
    requests: int
    times: float
    z: float
    worst: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.storms / self.requests if self.requests else 0.0


def find_retry_storm(evidence: Evidence) -> Result:
    answer = evidence.ask(
        "retry_storm",
        "repeated_calls",
        service=evidence.incident.service_name,
        often=OFTEN,
        **evidence.sick_literals,
        **evidence.healthy_literals,
    )
    storms = [each for each in map(_storm, answer.rows) if _is_storm(each)]
    worst = max(storms, key=lambda each: (each.share, each.times), default=None)
    return Result(findings=(_finding(worst, answer.sql),) if worst else ())


def _storm(row: Mapping[str, Any]) -> Storm:
    return Storm(
        name=row["name"],
        callee=row["callee"] or "",
        calls_before=float(row["calls_before"]),
        calls_during=float(row["calls_during"]),
        failed_share=float(row["failed_share"]),
        storms=row["storms"],
        requests=row["requests"],
        times=float(row["times"]),
        z=z_of_share(row["storms_before"], row["storms"], row["requests_before"], row["requests"]),
        worst=tuple(row["worst"]),
    )


def _is_storm(storm: Storm) -> bool:
    return (
        storm.storms >= FEWEST_REQUESTS
        and storm.share >= SMALLEST_SHARE
        and storm.calls_during >= 2 * storm.calls_before
        and (storm.z >= LIKELY_Z or not storm.calls_before)
    )


def _finding(storm: Storm, sql: str) -> Finding:
    called = f" to {storm.callee}" if storm.callee else ""
    before = f"{number(storm.calls_before)} before" if storm.calls_before else "none is known from before"
    return Finding(
        kind="retry_storm",
        statement=(
            f"{percent(storm.share)} of the requests repeat the call {code(storm.name)}{called} "
            f"{number(storm.times)} times although it fails: {number(storm.calls_during)} calls per request, {before}; "
            f"{percent(storm.failed_share)} of them fail (z = {number(storm.z)})."
        ),
        subject=Subject("span", storm.name),
        effect=Effect(
            storm.calls_during - storm.calls_before, "calls per request", storm.calls_before, storm.calls_during
        ),
        significance={"method": "share of requests with a call that fails five times or more", "z": storm.z},
        confidence="strong" if storm.z >= STRONG_Z and storm.share >= LARGE_SHARE else "likely",
        evidence=storm.worst,
        sql=sql,
        weight=storm.share,
    )
