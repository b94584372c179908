"""
Waiting: functions in which goroutines stand that did not stand there in health, from polled snapshots.

Needs a wall profile of the incident and one of the healthy time. It is what is left to say about waiting when there are
no spans, and names the line where a span only names itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.explain.evidence import Evidence, ProfileRef
from diagnose.explain.functions import Changes, FunctionChange, function_changes
from diagnose.explain.result import LIKELY_Z, Result
from diagnose.explain.wording import code, number, percent, short
from diagnose.model import Effect, Finding, Note, Subject
from diagnose.pprof.wall import RUNNABLE, RUNNING

NS = 1e9
SMALLEST_WAITING = 0.2  # goroutines at a time
WAITING_UNIT = "goroutines at a time"
METHOD = "weakest of rate, share and rate per request of polled goroutines, Poisson with dispersion, FDR 1 %"
SYMPTOM_HINT = 0.6  # that goroutines wait says little about whether a request is late


@dataclass(frozen=True)
class Waiting:
    """`state` is what most of them did; `share` the part of the time of all requests, or of all own functions."""

    change: FunctionChange
    of: Changes
    state: str
    share: float


def find_waiting(evidence: Evidence) -> Result:
    found = evidence.once(waiting_functions)
    findings = tuple(_finding(evidence, each) for each in found[:1])
    return Result(findings=findings, ruled_out=_processors(evidence))


def waiting_functions(evidence: Evidence) -> list[Waiting]:
    """Own functions with significantly more waiting than before, most added first."""
    found = []
    for pair in evidence.pairs("wall", "interval"):
        if pair.before is None:
            continue
        changes = function_changes(evidence, pair, "wall")
        whole_ns = _whole_ns(evidence, pair.during)
        for change in changes.functions:
            if _is_added(evidence, change):
                state = _state(evidence, pair.during, change.function)
                if state not in (RUNNING, RUNNABLE):
                    share = min(1.0, (change.during - change.before) * pair.during.duration_s / whole_ns)
                    found.append(Waiting(change, changes, state, share))
    return sorted(found, key=lambda each: (each.change.before - each.change.during, each.change.function))


def _is_added(evidence: Evidence, change: FunctionChange) -> bool:
    return (
        change.has_risen
        and (change.during - change.before) / NS >= SMALLEST_WAITING
        and evidence.origin(change.function).is_own
    )


def _whole_ns(evidence: Evidence, during: ProfileRef) -> float:
    row = evidence.ask("waiting", "of_requests", during=during.profile_id).rows[0]
    return max(1.0, float(row["labelled_ns"] or row["all_ns"]))


def _state(evidence: Evidence, during: ProfileRef, function: str) -> str:
    rows = evidence.ask("waiting", "states", during=during.profile_id, function=function).rows
    return str(rows[0]["state"]) if rows else ""


def _finding(evidence: Evidence, waiting: Waiting) -> Finding:
    change, pair = waiting.change, waiting.of.pair
    line = evidence.hottest_line(pair.during, "wall", change.function)
    before, during = change.before / NS, change.during / NS
    return Finding(
        kind="lock" if waiting.state == "mutex" else "latency",
        statement=(
            f"{percent(waiting.share)} of the time of requests on {pair.during.instance} is added waiting in "
            f"{code(short(change.function))} ({waiting.state}): {number(during)} goroutines at a time, "
            f"{number(before)} before (z = {number(change.z)})."
        ),
        subject=Subject("function", change.function, evidence.origin(change.function).file or None, line or None),
        effect=Effect(during - before, WAITING_UNIT, before, during),
        significance={"method": METHOD, "z": change.z, "dispersion": change.dispersion},
        confidence="likely" if change.z >= LIKELY_Z else "hint",
        evidence=(pair.during.profile_id, *([pair.before.profile_id] if pair.before else [])),
        sql=waiting.of.sql,
        weight=SYMPTOM_HINT * waiting.share,
    )


def _processors(evidence: Evidence) -> tuple[Note, ...]:
    """Goroutines that are ready and wait for a processor: what a full machine or a CPU limit looks like."""
    notes = []
    for pair in evidence.pairs("wall", "interval")[:1]:
        if pair.before is not None:
            answer = evidence.ask(
                "waiting",
                "runnable",
                before=pair.before.profile_id,
                during=pair.during.profile_id,
                before_s=pair.before.duration_s or 1.0,
                during_s=pair.during.duration_s or 1.0,
            )
            before, during = answer.rows[0]["before"], answer.rows[0]["during"]
            if during <= max(1.0, 2 * before):
                text = f"Processors: {number(during)} goroutines at a time wait for one ({number(before)} before)"
                notes.append(Note(text, sql=answer.sql))
    return tuple(notes)
