"""
One instance: what the sick process does that a healthy one of the same service and build does not, at the same time.

Needs CPU profiles of two instances from the same round, or spans of two instances. Load, time of day and everything
they call are the same for both, so this needs no profile of the healthy time.
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.explain.evidence import Evidence, Pair, ProfileRef
from diagnose.explain.functions import Changes, FunctionChange, function_changes
from diagnose.explain.requests import Slowdown, look_at_requests
from diagnose.explain.result import STRONG_Z, Result
from diagnose.explain.wording import code, number, percent, short
from diagnose.model import Effect, Finding, Subject
from diagnose.pprof.significance import z_of_share

NS = 1e9
SMALLEST_GAIN = 0.2  # of all CPU of the sick instance
SECOND_LOOK = 0.9  # the function itself comes first where health is known
WHERE_NOT_WHY = 0.5
FEWEST_REQUESTS = 20
MUCH_MORE = 3  # times the share of slow requests


@dataclass(frozen=True)
class Contrast:
    """A function that the sick instance is in and the calm one is not."""

    function: FunctionChange
    of: Changes
    calm: ProfileRef

    @property
    def sick(self) -> ProfileRef:
        return self.of.pair.during


def find_instance(evidence: Evidence) -> Result:
    contrast = _contrast(evidence)
    if contrast is not None:
        return Result(findings=(_finding(contrast),))
    slowdown = evidence.once(look_at_requests).slowdown
    return Result(findings=_by_requests(evidence, slowdown) if slowdown else ())


def _contrast(evidence: Evidence) -> Contrast | None:
    """Between the busiest and the least busy instance, when they run the same build."""
    profiles = sorted(evidence.during("cpu", "interval"), key=lambda each: each.sample_count / (each.duration_s or 1.0))
    if len(profiles) < 2 or profiles[0].build_id != profiles[-1].build_id:
        return None
    calm, sick = profiles[0], profiles[-1]
    changes = function_changes(evidence, Pair(calm, sick), "cpu")
    risen = [each for each in changes.functions if each.has_risen and each.gained >= SMALLEST_GAIN]
    own = [each for each in risen if evidence.origin(each.function).is_own]
    most = max(own, key=lambda each: each.gained, default=None)
    return Contrast(most, changes, calm) if most else None


def _finding(contrast: Contrast) -> Finding:
    function, sick, calm = contrast.function, contrast.sick, contrast.calm
    cores = f"{number(contrast.of.all_during / NS)} cores, {calm.instance} {number(contrast.of.all_before / NS)}"
    return Finding(
        kind="instance",
        statement=(
            f"{sick.instance} differs from {calm.instance}, which was looked at at the same time: "
            f"{percent(function.during_share)} of its on-CPU time is in {code(short(function.function))}, there "
            f"{percent(function.before_share)} (z = {number(function.z)}). {sick.instance} uses {cores}."
        ),
        subject=Subject("instance", sick.instance),
        effect=Effect.of_cpu(function.before_share, function.during_share),
        significance={
            "method": "weaker of rate and share of CPU samples between two instances, Poisson with dispersion, FDR 1 %",
            "z": function.z,
            "dispersion": function.dispersion,
        },
        confidence="strong" if function.z >= STRONG_Z else "likely",
        evidence=contrast.of.pair.profile_ids,
        sql=contrast.of.sql,
        weight=SECOND_LOOK * function.gained,
    )


def _by_requests(evidence: Evidence, slowdown: Slowdown) -> tuple[Finding, ...]:
    """Without such profiles: the slow requests all went through one instance."""
    route = slowdown.route
    answer = evidence.ask(
        "instance",
        "slow",
        service=evidence.incident.service_name,
        route=route.name,
        p99_ns=route.p99_before_ns,
        **evidence.sick_literals,
    )
    rows = [row for row in answer.rows if row["requests"] >= FEWEST_REQUESTS]
    if len(rows) < 2:
        return ()
    worst, others = rows[0], rows[1:]
    slow, requests = (sum(row[name] for row in others) for name in ("slow", "requests"))
    share, elsewhere = worst["slow"] / worst["requests"], slow / requests
    z = z_of_share(slow, worst["slow"], requests, worst["requests"])
    if z < STRONG_Z or share < MUCH_MORE * elsewhere:
        return ()
    return (
        Finding(
            kind="instance",
            statement=(
                f"Slow requests of {route.name} are those of {worst['instance']}: {percent(share)} of its requests "
                f"take longer than 99 % did before, elsewhere {percent(elsewhere)} do (z = {number(z)})."
            ),
            subject=Subject("instance", worst["instance"]),
            effect=Effect(100 * (share - elsewhere), "points of slow requests", 100 * elsewhere, 100 * share),
            significance={"method": "share of slow requests between instances", "z": z},
            confidence="likely",
            evidence=route.slowest,
            sql=answer.sql,
            weight=WHERE_NOT_WHY * share,
        ),
    )
