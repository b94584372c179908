"""
Memory: where the live bytes were allocated that were not there in health.

Needs a heap snapshot of the incident, and one of the healthy time or a second one of the incident to compare with; a
second one gives the growth per second, too. Heap profiles show the state after the last garbage collection: two without
one in between are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

from diagnose.explain.evidence import DURING, Evidence, Pair, ProfileRef
from diagnose.explain.functions import Changes, FunctionChange, function_changes
from diagnose.explain.instances import where
from diagnose.explain.result import STRONG_Z, Result
from diagnose.explain.wording import code, number, percent, seconds, short, size
from diagnose.model import Confidence, Effect, Finding, Note, Subject

SMALLEST_GAIN = 0.2  # of the live heap
SMALLEST_BYTES = 4_000_000


@dataclass(frozen=True)
class Growth:
    """Between two snapshots of one process, of the function and of the whole heap."""

    apart_s: float
    of_function_bytes: float
    of_all_bytes: float

    @property
    def is_frozen(self) -> bool:
        """No garbage collection happened in between, so the second snapshot says nothing new."""
        return self.of_all_bytes == 0


def find_memory(evidence: Evidence) -> Result:
    pairs = [_with_first(evidence, pair) for pair in evidence.pairs("heap", "snapshot")]
    changes = [function_changes(evidence, pair, "inuse_space") for pair in pairs if pair.before]
    changes = [each for each in changes if each.functions]
    if not changes:
        return Result()
    sites = [(function, each) for each in changes for function in each.functions if _is_growth(function, each.pair)]
    if not sites:
        compared = [each for each in changes if _is_healthy(each.pair)]
        worst = max(compared, key=lambda each: each.all_during, default=None)
        return Result(ruled_out=(_unchanged(worst),) if worst else ())
    site, of = max(sites, key=lambda found: found[0].gained)
    growth = _growth(evidence, of.pair.during, site.function)
    sizes = {
        each.pair.during.instance: found.gained
        if (found := each.of(site.function)) and _is_growth(found, each.pair)
        else 0.0
        for each in changes
    }
    return Result(
        findings=(_finding(evidence, site, of, growth, where(sizes, of.pair.during.instance)),),
        missing=(_no_collection(of.pair.during, growth),) if growth and growth.is_frozen else (),
    )


def _with_first(evidence: Evidence, pair: Pair) -> Pair:
    """Without a healthy snapshot the first one of the incident must do."""
    first = _first(evidence, pair.during)
    return pair if pair.before or first is None else Pair(first, pair.during)


def _is_healthy(pair: Pair) -> bool:
    return pair.before is not None and pair.before.trigger not in DURING


def _first(evidence: Evidence, again: ProfileRef) -> ProfileRef | None:
    """The snapshot of the same process at the beginning of the capture, if that is another one."""
    firsts = {each.instance: each for each in evidence.during("heap", "snapshot", "first")}
    first = firsts.get(again.instance)
    return None if first is None or first.profile_id == again.profile_id else first


def _is_growth(function: FunctionChange, pair: Pair) -> bool:
    """Of two snapshots within the incident the shares are alike already."""
    return (
        function.rate_has_risen
        and (function.has_larger_share or not _is_healthy(pair))
        and function.gained >= SMALLEST_GAIN
        and function.during - function.before >= SMALLEST_BYTES
    )


def _growth(evidence: Evidence, again: ProfileRef, function: str) -> Growth | None:
    first = _first(evidence, again)
    if first is None:
        return None
    row = evidence.ask("memory", "totals", first=first.profile_id, again=again.profile_id, function=function).rows[0]
    return Growth(
        (again.started_at - first.started_at).total_seconds(),
        float(row["again_of_function"] - row["first_of_function"]),
        float(row["again_bytes"] - row["first_bytes"]),
    )


def _finding(evidence: Evidence, site: FunctionChange, of: Changes, growth: Growth | None, instances: str) -> Finding:
    is_healthy = _is_healthy(of.pair)
    earlier = "before" if is_healthy or growth is None else f"{seconds(growth.apart_s)} earlier"
    statement = (
        f"Live heap grew from {size(of.all_before)} to {size(of.all_during)}; {percent(site.during_share)} of it "
        f"({size(site.during)}) was allocated in {code(short(site.function))}{instances}, "
        f"{size(site.before)} {earlier} (z = {number(site.z_rate)})."
    )
    line = evidence.hottest_line(of.pair.during, "inuse_space", site.function)
    return Finding(
        kind="memory",
        statement=statement + (_pace(growth) if is_healthy else ""),
        subject=Subject("function", site.function, evidence.origin(site.function).file or None, line or None),
        effect=Effect(site.during - site.before, "bytes", site.before, site.during),
        significance={"method": "count of sampled allocations, Poisson with dispersion, FDR 1 %", "z": site.z_rate},
        confidence=_confidence(site, growth) if is_healthy else "likely",
        evidence=of.pair.profile_ids,
        sql=of.sql,
        weight=site.gained,
    )


def _pace(growth: Growth | None) -> str:
    if growth is None or growth.of_function_bytes <= 0 or growth.apart_s <= 0:
        return ""
    return (
        f" Between two snapshots {seconds(growth.apart_s)} apart it grew by {size(growth.of_function_bytes)}, "
        f"{size(growth.of_function_bytes / growth.apart_s)} per second."
    )


def _confidence(site: FunctionChange, growth: Growth | None) -> Confidence:
    shrinks = growth is not None and growth.of_function_bytes < 0
    return "strong" if site.z_rate >= STRONG_Z and not shrinks else "likely"


def _no_collection(during: ProfileRef, growth: Growth) -> Note:
    return Note(
        f"How fast the heap of {during.instance} grows: no garbage collection happened in the "
        f"{seconds(growth.apart_s)} between the two heap snapshots, so the second one shows the same state."
    )


def _unchanged(of: Changes) -> Note:
    sizes = f"live heap {size(of.all_during)} ({size(of.all_before)} before)"
    return Note(f"Memory: {sizes}, no allocation site grew significantly", sql=of.sql)
