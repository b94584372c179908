"""
A change: a new build appeared on an instance, and since then something is worse there.

Needs the build of the process before (setting baseline: the last healthy profiles of the previous build are kept). What
the old build did is what the new one is compared with, even when the new one was captured before its fault showed.
"""

from __future__ import annotations

from datetime import timedelta

from diagnose.explain.evidence import Evidence, NewBuild
from diagnose.explain.functions import Changes, FunctionChange, function_changes
from diagnose.explain.requests import Slowdown, look_at_requests
from diagnose.explain.result import STRONG_Z, Result
from diagnose.explain.wording import code, number, percent, seconds, short
from diagnose.model import Effect, Finding, Note, Subject

SMALLEST_GAIN = 0.05  # of all CPU now
LARGE_GAIN = 0.2
ONLY_COINCIDENCE = 0.6  # that both happened together is all there is to say
TREND = timedelta(hours=2)
SHOWN = 12  # characters of a build id


def find_change(evidence: Evidence) -> Result:
    builds = evidence.new_builds
    if not builds:
        return Result()
    found = [each for build in builds for each in _functions(evidence, build)]
    if found:
        build, function, of = max(found, key=lambda each: each[1].gained)
        return Result(findings=(_finding(evidence, build, function, of),))
    slowdown = evidence.once(look_at_requests).slowdown
    if slowdown is None:
        return Result(ruled_out=tuple(_harmless(evidence, build) for build in builds))
    return Result(findings=(_coincidence(evidence, builds[-1], slowdown),))


def _functions(evidence: Evidence, build: NewBuild) -> list[tuple[NewBuild, FunctionChange, Changes]]:
    """Own functions that take more CPU than they did in the build before."""
    found = []
    for pair in evidence.pairs("cpu", "interval"):
        is_new = (pair.during.instance, pair.during.build_id) == (build.instance, build.build_id)
        if is_new and pair.before is not None and pair.before.build_id != build.build_id:
            changes = function_changes(evidence, pair, "cpu")
            found += [(build, each, changes) for each in changes.functions if _is_worse(evidence, each)]
    return found


def _is_worse(evidence: Evidence, function: FunctionChange) -> bool:
    return function.has_risen and function.gained >= SMALLEST_GAIN and evidence.origin(function.function).is_own


def _finding(evidence: Evidence, build: NewBuild, function: FunctionChange, of: Changes) -> Finding:
    origin = evidence.origin(function.function)
    line = evidence.hottest_line(of.pair.during, "cpu", function.function)
    trend = evidence.ask(
        "change",
        "trend",
        service=evidence.incident.service_name,
        function=function.function,
        since=build.first_seen - TREND,
        until=evidence.sick.until,
    )
    return Finding(
        kind="change",
        statement=(
            f"{_since(evidence, build)}, {percent(function.during_share)} of its on-CPU time is in "
            f"{code(short(function.function))}; in build {code(build.previous[:SHOWN])} it was "
            f"{percent(function.before_share)} (z = {number(function.z)})."
        ),
        subject=Subject("function", function.function, origin.file or None, line or None),
        effect=Effect.of_cpu(function.before_share, function.during_share),
        significance={
            "method": "weakest of rate, share and rate per request of CPU samples between builds, FDR 1 %",
            "z": function.z,
            "dispersion": function.dispersion,
        },
        confidence="strong" if function.z >= STRONG_Z and function.gained >= LARGE_GAIN else "likely",
        evidence=of.pair.profile_ids,
        sql=trend.sql,
        weight=function.gained,
    )


def _since(evidence: Evidence, build: NewBuild) -> str:
    earlier_s = (evidence.incident.started_at - build.first_seen).total_seconds()
    when = f"{seconds(abs(earlier_s))} {'before' if earlier_s >= 0 else 'after'} the incident began"
    return f"Since build {code(build.build_id[:SHOWN])} on {build.instance} (first seen {when})"


def _coincidence(evidence: Evidence, build: NewBuild, slowdown: Slowdown) -> Finding:
    share = slowdown.explained(slowdown.added_ns)
    return Finding(
        kind="change",
        statement=f"{_since(evidence, build)}, requests are slower; before it ran {code(build.previous[:SHOWN])}.",
        subject=Subject("instance", build.instance),
        effect=Effect(100 * share, "percent of the time of slow requests", None, 100 * share),
        significance={"method": "share of requests above the healthy 99th percentile", "z": slowdown.route.z},
        confidence="hint",
        evidence=slowdown.route.slowest,
        sql=evidence.ask_for_builds().sql,
        weight=ONLY_COINCIDENCE * share,
    )


def _harmless(evidence: Evidence, build: NewBuild) -> Note:
    return Note(f"{_since(evidence, build)}: no function takes significantly more CPU than in the build before")
