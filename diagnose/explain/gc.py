"""
Garbage collection: how much CPU the collector takes, and who makes the garbage.

Needs CPU profiles of the incident and of the healthy time; who allocates comes from the difference of two heap
snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.explain.evidence import Evidence, Pair
from diagnose.explain.functions import FunctionChange, function_changes
from diagnose.explain.result import LIKELY_Z, STRONG_Z, Result
from diagnose.explain.wording import code, number, percent, short, size
from diagnose.model import Effect, Finding, Note, Subject
from diagnose.pprof.significance import weaker, z_of_rate, z_of_share

SMALLEST_POINTS = 10.0
CPU_NS_PER_S = 1e9


@dataclass(frozen=True)
class Collection:
    """Percent of the CPU of one process, before and during; `cores` is all the CPU it uses now."""

    pair: Pair
    before_percent: float
    during_percent: float
    z: float
    cores_before: float
    cores_during: float
    sql: str

    @property
    def gained(self) -> float:
        """Part of all CPU now that is added collecting."""
        before = self.before_percent / 100 * self.cores_before
        during = self.during_percent / 100 * self.cores_during
        return max(0.0, during - before) / self.cores_during if self.cores_during else 0.0


def find_gc(evidence: Evidence) -> Result:
    found = [_collection(evidence, pair) for pair in evidence.pairs("cpu", "interval") if pair.before]
    if not found:
        return Result()
    worst = max(found, key=lambda each: each.during_percent)
    if worst.z < LIKELY_Z or worst.during_percent - worst.before_percent < SMALLEST_POINTS:
        return Result(ruled_out=(_unchanged(worst),))
    return Result(findings=(_finding(evidence, worst),))


def _unchanged(found: Collection) -> Note:
    during, before = percent(found.during_percent / 100), percent(found.before_percent / 100)
    cores = found.during_percent / 100 * found.cores_during
    return Note(
        f"Garbage collection: {during} of CPU, {number(cores)} cores ({before} before), no significant change",
        sql=found.sql,
    )


def _collection(evidence: Evidence, pair: Pair) -> Collection:
    before_id = pair.before.profile_id if pair.before else ""
    answer = evidence.ask("gc", "share", before=before_id, during=pair.during.profile_id)
    before, during = (float(answer.rows[0][name]) for name in ("before_percent", "during_percent"))
    cpu = function_changes(evidence, pair, "cpu").functions
    seen_before, seen_during = sum(each.before_seen for each in cpu), sum(each.during_seen for each in cpu)
    in_gc = before / 100 * seen_before, during / 100 * seen_during
    before_s = pair.before.duration_s if pair.before else 0.0
    z = weaker(
        z_of_rate(*in_gc, before_s or 1.0, pair.during.duration_s or 1.0), z_of_share(*in_gc, seen_before, seen_during)
    )
    cores = (cpu[0].all_before, cpu[0].all_during) if cpu else (0.0, 0.0)
    return Collection(pair, before, during, z, cores[0] / CPU_NS_PER_S, cores[1] / CPU_NS_PER_S, answer.sql)


def _finding(evidence: Evidence, found: Collection) -> Finding:
    pair = found.pair
    site = _allocating(evidence, pair.during.instance)
    subject = Subject("instance", pair.during.instance)
    blame = ""
    if site is not None:
        subject = Subject("function", site.function, evidence.origin(site.function).file or None)
        blame = (
            f" {percent(site.during_share)} of what is allocated ({size(site.during)} per second, "
            f"{size(site.before)} before) comes from {code(short(site.function))}."
        )
    return Finding(
        kind="gc",
        statement=(
            f"Garbage collection takes {percent(found.during_percent / 100)} of the CPU of {pair.during.instance}, "
            f"{percent(found.before_percent / 100)} before (z = {number(found.z)}).{blame}"
        ),
        subject=subject,
        effect=Effect.of_cpu(found.before_percent / 100, found.during_percent / 100),
        significance={"method": "weaker of rate and share of CPU samples, Poisson", "z": found.z},
        confidence="strong" if found.z >= STRONG_Z else "likely",
        evidence=(pair.during.profile_id, *([pair.before.profile_id] if pair.before else [])),
        sql=found.sql,
        weight=found.gained,
    )


def _allocating(evidence: Evidence, instance: str) -> FunctionChange | None:
    """The own function that allocates most, between two heap snapshots of the incident."""
    for pair in evidence.pairs("heap", "interval"):
        if pair.during.instance == instance:
            changes = function_changes(evidence, pair, "alloc_space").functions
            own = [each for each in changes if each.during > 0 and evidence.origin(each.function).is_own]
            return max(own, key=lambda each: each.during, default=None)
    return None
