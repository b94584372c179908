"""
CPU: which function of the program's own takes more of it than in health.

Needs a CPU profile of the incident. With one of the healthy time the rate per wall second, the share of all samples
and, where requests were counted, the rate per request must have changed; without, only the share is known, and that is
a hint.
"""

from __future__ import annotations

from collections.abc import Sequence

from diagnose.explain.evidence import Evidence
from diagnose.explain.functions import Changes, FunctionChange, function_changes
from diagnose.explain.instances import where
from diagnose.explain.result import STRONG_Z, Result
from diagnose.explain.wording import code, number, percent, place, seconds, short
from diagnose.model import Effect, Finding, Note, Subject

NS = 1e9
SMALLEST_GAIN = 0.05  # of all CPU now
LARGE_GAIN = 0.2
BIG_SHARE = 0.3  # of the CPU, without a baseline
BUSY_CORES = 0.3  # as much CPU makes a share without a baseline a full hint
MOST = 3
METHOD = "weakest of rate, share and rate per request of CPU samples, Poisson with dispersion, FDR 1 %"


def find_hot_code(evidence: Evidence) -> Result:
    changes = [function_changes(evidence, pair, "cpu") for pair in evidence.pairs("cpu", "interval")]
    changes = [each for each in changes if each.functions]
    compared = [each for each in changes if each.pair.before is not None]
    if not changes:
        return Result()
    if not compared:
        return Result(findings=_large(evidence, changes))
    findings = _changed(evidence, compared)
    return Result(findings=findings, ruled_out=() if findings else (_unchanged(compared),))


def _changed(evidence: Evidence, changes: Sequence[Changes]) -> tuple[Finding, ...]:
    """Per function the instance where it gained most."""
    best: dict[str, tuple[FunctionChange, Changes]] = {}
    for of in changes:
        for function in of.functions:
            known = best.get(function.function)
            if _is_hotter(function) and (known is None or function.gained > known[0].gained):
                best[function.function] = (function, of)
    ranked = sorted(best.values(), key=lambda found: (-found[0].gained, found[0].function))
    own = [found for found in ranked if evidence.origin(found[0].function).is_own]
    return tuple(_finding(evidence, function, of, changes) for function, of in own[:MOST])


def _is_hotter(function: FunctionChange) -> bool:
    return function.has_risen and function.gained >= SMALLEST_GAIN


def _finding(evidence: Evidence, function: FunctionChange, of: Changes, others: Sequence[Changes]) -> Finding:
    gained = {each.pair.during.instance: _gained(each, function.function) for each in others}
    subject = _subject(evidence, function.function, of)
    lender = "" if of.pair.before is None or of.pair.is_same_process else f" on {of.pair.before.instance}"
    return Finding(
        kind="hot_code",
        statement=(
            f"{percent(function.during_share)} of on-CPU time is in {code(short(function.function))}"
            f"{where(gained, of.pair.during.instance)}; it was {percent(function.before_share)} before{lender} "
            f"(z = {number(function.z)}). The process uses {number(of.all_during / NS)} cores, "
            f"{number(of.all_before / NS)} before.{_per_request(function)}{_hottest_line(subject)}"
        ),
        subject=subject,
        effect=Effect.of_cpu(function.before_share, function.during_share),
        significance={"method": METHOD, "z": function.z, "dispersion": function.dispersion},
        confidence="strong" if function.z >= STRONG_Z and function.gained >= LARGE_GAIN else "likely",
        evidence=of.pair.profile_ids,
        sql=of.sql,
        weight=function.gained,
    )


def _per_request(function: FunctionChange) -> str:
    if not function.during_each:
        return ""
    return f" That is {seconds(function.during_each / NS)} per request, {seconds(function.before_each / NS)} before."


def _gained(changes: Changes, function: str) -> float:
    found = changes.of(function)
    return found.gained if found and found.has_risen else 0.0


def _subject(evidence: Evidence, function: str, of: Changes) -> Subject:
    line = evidence.hottest_line(of.pair.during, "cpu", function)
    return Subject("function", function, evidence.origin(function).file or None, line or None)


def _hottest_line(subject: Subject) -> str:
    found = place(subject.file or "", subject.line or 0)
    return f" Hottest line: {found}." if found else ""


def _large(evidence: Evidence, changes: Sequence[Changes]) -> tuple[Finding, ...]:
    """The top function where nothing healthy is there to compare with."""
    of = max(changes, key=lambda each: each.all_during)
    own = [each for each in of.functions if evidence.origin(each.function).is_own]
    if not own or own[0].during_share < BIG_SHARE:
        return ()
    top, during = own[0], of.pair.during
    subject = _subject(evidence, top.function, of)
    return (
        Finding(
            kind="hot_code",
            statement=(
                f"{percent(top.during_share)} of on-CPU time of {during.instance} is in {code(short(top.function))} "
                f"({number(top.during / NS)} cores). There is no healthy profile to compare with: whether that is "
                f"new is not known.{_hottest_line(subject)}"
            ),
            subject=subject,
            effect=Effect(100 * top.during_share, "percent of on-CPU time", None, 100 * top.during_share),
            significance={"method": "none: no healthy profile"},
            confidence="hint",
            evidence=of.pair.profile_ids,
            sql=of.sql,
            weight=top.during_share * min(1.0, of.all_during / NS / BUSY_CORES),
        ),
    )


def _unchanged(changes: Sequence[Changes]) -> Note:
    of = max(changes, key=lambda each: each.all_during)
    before, during = of.all_before / NS, of.all_during / NS
    statement = f"CPU: {number(during)} cores ({number(before)} before)"
    if before > 0 and during > 2 * before:
        return Note(f"{statement}, spread over the functions as before: more work, not slower code", sql=of.sql)
    return Note(f"{statement}, no function changed significantly", sql=of.sql)
