"""What could not be known, and what would help: captures that failed, no baseline, traces without spans, no labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from diagnose.explain.evidence import Evidence
from diagnose.explain.result import Result
from diagnose.explain.wording import listed
from diagnose.model import Capture, Note

EMPTY = {
    "mutex": "Call runtime.SetMutexProfileFraction(5) at the start of the program.",
    "block": "Call runtime.SetBlockProfileRate(1_000_000) (every wait of a millisecond) at the start of the program.",
}
FIXES = {
    "already in use": "Another CPU profiler runs all the time; wall-clock polling took its place.",
    "cooldown": "Setting rules[].cooldown says how long a process is left alone.",
    "max_per_hour": "Setting rules[].max_per_hour limits the rounds.",
    "seconds_per_hour": "Setting rules[].seconds_per_hour limits for how long a process is profiled.",
    "Unknown profile": "goroutineleak needs Go 1.27, or 1.26 built with GOEXPERIMENT=goroutineleakprofile.",
}
BASELINE_FIX = "Healthy profiles are taken a minute after a target is first seen and then hourly (setting baseline)."
LABELS_FIX = 'Label the goroutine of each request with pprof.Do(ctx, pprof.Labels("trace_id", …, "span_id", …), …).'
SAMPLE_MS = 10
ENOUGH_SAMPLES = 50  # fewer may all be the runtime's own


def find_gaps(evidence: Evidence) -> Result:
    return Result(
        missing=(
            *_captures(evidence),
            *_baselines(evidence),
            *_empty(evidence),
            *_labels(evidence),
            *_traces(evidence),
        )
    )


def _captures(evidence: Evidence) -> Iterable[Note]:
    """One sentence per outcome and reason, however many kinds it concerns."""
    outcomes: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for capture in evidence.captures:
        if capture.status not in ("done", "planned", "running"):
            outcomes[capture.service_instance_id, capture.status, capture.reason].append(capture.kind)
    for (instance, status, reason), kinds in outcomes.items():
        names = listed(list(dict.fromkeys(kinds)))
        because = f": {reason}" if reason else ""
        yield Note(f"Profile {names} of {instance} was {_became(status)}{because}", fix=_fix(reason))
    if not evidence.captures:
        yield Note(
            "No profile was captured: no target of the allow-list belongs to these alerts.",
            fix="Name the process in setting targets, with labels that the alert carries too.",
        )


def _became(status: str) -> str:
    return {"failed": "not got", "lost": "lost"}.get(status, status)


def _fix(reason: str) -> str:
    return next((fix for text, fix in FIXES.items() if text in reason), "")


def _baselines(evidence: Evidence) -> Iterable[Note]:
    wanted = [
        ("cpu", "interval"),
        ("heap", "snapshot"),
        ("goroutine", "snapshot"),
        ("wall", "interval"),
        ("mutex", "interval"),
    ]
    without = [kind for kind, basis in wanted for pair in evidence.pairs(kind, basis) if pair.before is None]
    if without:
        names = listed(list(dict.fromkeys(without)))
        service = evidence.incident.service_name
        yield Note(f"What is normal for {service}: no healthy profile {names} to compare with.", fix=BASELINE_FIX)


def _empty(evidence: Evidence) -> Iterable[Note]:
    for kind, fix in EMPTY.items():
        taken = [each for each in evidence.captures if each.kind == kind and each.status == "done"]
        if taken and not any(_has_samples(evidence, each) for each in taken):
            yield Note(f"The {kind} profile is empty: the program may not record it.", fix=fix)


def _has_samples(evidence: Evidence, capture: Capture) -> bool:
    return any(each.profile_id == capture.profile_id and each.sample_count for each in evidence.profiles)


def _labels(evidence: Evidence) -> Iterable[Note]:
    for profile in evidence.during("cpu", "interval"):
        answer = evidence.ask("coverage", "labels", profile=profile.profile_id)
        row = answer.rows[0]
        if row["samples"] >= ENOUGH_SAMPLES and not row["labelled"]:
            statement = f"Which requests used the CPU of {profile.instance}: its profile carries no trace ids."
            yield Note(statement, fix=LABELS_FIX, sql=answer.sql)


def _traces(evidence: Evidence) -> Iterable[Note]:
    if not evidence.traces:
        yield Note(
            "No trace of these alerts was found: neither by label, nor exemplar, nor a search in the spans.",
            fix="Exemplars need --enable-feature=exemplar-storage in Prometheus and a trace id on the histogram.",
        )
        return
    cpu = [each.profile_id for each in evidence.during("cpu", "interval")]
    answer = evidence.ask("coverage", "traces", incident=evidence.incident.incident_id, cpu=cpu)
    row = answer.rows[0]
    traces = row["traces"]
    if row["without_spans"]:
        yield Note(
            f"{row['without_spans']} of {traces} traces have no spans here.",
            fix="They were not sampled, or their spans go elsewhere; see collector-config/.",
            sql=answer.sql,
        )
    for count, why in (
        (row["ended_before"], "they ended before the capture began"),
        (row["began_after"], "they began after the capture"),
        (row["beside"], f"they were on CPU for less than a sample's {SAMPLE_MS} ms, or waited"),
    ):
        if cpu and count:
            yield Note(f"{count} of {traces} traces have no CPU sample: {why}.", sql=answer.sql)
