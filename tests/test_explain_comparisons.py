"""Findings that compare with another build or another instance; and retry storms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from diagnose.explain import Explanation, explain
from diagnose.pprof.profile import Profile
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.builds import see_build
from diagnose.store.db import Store
from diagnose.store.spans import save_spans
from tests.otlp import START_NS, span, traces
from tests.pprof.small import cpu_profile
from tests.recorded_incident import open_incident, save_capture

START = datetime.now(UTC) - timedelta(minutes=2)
WORK = {"main.main > main.serve": 300, "main.main > main.render": 200, "main.main > main.store": 100}
HOT = {**WORK, "main.main > main.recompile": 900}


def profile(counts: Mapping[str, int], at: datetime, build: str) -> Profile:
    return replace(cpu_profile(counts), time_ns=int(at.timestamp() * 1e9), build_id=build)


def healthy(store: Store, counts: Mapping[str, int], *, build: str, minutes: float, instance: str = "c-2") -> str:
    """A healthy CPU profile from so many minutes before the incident; its id."""
    at = START - timedelta(minutes=minutes)
    found = profile(counts, at, build)
    return save_capture(
        store, None, "cpu", trigger="baseline", at=at, profile=found, basis="interval", instance=instance
    )


def sick(store: Store, incident: str, counts: Mapping[str, int], *, build: str, instance: str = "c-2") -> str:
    found = profile(counts, START + timedelta(seconds=20), build)
    return save_capture(store, incident, "cpu", profile=found, basis="interval", instance=instance)


def ran(store: Store, instance: str, *builds: tuple[str, float]) -> None:
    """Which builds ran on an instance since so many minutes before the incident."""
    for build, minutes in builds:
        see_build(store, "checkout", instance, build, START - timedelta(minutes=minutes))


def runs_again(store: Store, explanation: Explanation) -> None:
    for finding in explanation.findings:
        assert finding.sql.startswith("-- ")
        assert store.rows(finding.sql)
        assert finding.evidence


def test_a_new_build_that_is_slower_is_the_cause(store: Store):
    """Also when it was captured a minute after its start, already sick, and that was taken for health."""
    incident = open_incident(store, START, None)
    old = healthy(store, WORK, build="aaaa", minutes=50)
    healthy(store, HOT, build="bbbb", minutes=3)
    ran(store, "c-2", ("aaaa", 60), ("bbbb", 4))
    new = sick(store, incident, HOT, build="bbbb")

    explanation = explain(store, incident)

    first = explanation.findings[0]
    assert ("change", "strong", "main.recompile") == (first.kind, first.confidence, first.subject.name)
    assert first.statement.startswith(
        "Since build `bbbb` on c-2 (first seen 240 s before the incident began), 60 % of its on-CPU time is in "
        "`main.recompile`; in build `aaaa` it was 0 %"
    )
    assert (new, old) == first.evidence
    assert [("hot_code", "main.recompile")] == [(each.kind, each.subject.name) for each in explanation.findings[1:]]
    runs_again(store, explanation)


def test_a_build_of_another_instance_is_what_a_new_pod_is_compared_with(store: Store):
    incident = open_incident(store, START, None)
    healthy(store, WORK, build="aaaa", minutes=50, instance="c-1")
    ran(store, "c-1", ("aaaa", 60))
    ran(store, "c-3", ("bbbb", 4))
    sick(store, incident, HOT, build="bbbb", instance="c-3")

    assert "change" == explain(store, incident).findings[0].kind


@pytest.mark.parametrize(
    ("builds", "during"),
    [
        ((("aaaa", 600), ("bbbb", 300)), HOT),  # it was healthy for hours
        ((("bbbb", 4),), HOT),  # the first we know of
        ((("aaaa", 60), ("bbbb", 4)), WORK),  # nothing got worse
    ],
)
def test_what_is_no_change_is_not_called_one(store: Store, builds, during):
    incident = open_incident(store, START, None)
    healthy(store, WORK, build="aaaa", minutes=50)
    ran(store, "c-2", *builds)
    sick(store, incident, during, build="bbbb")

    explanation = explain(store, incident)

    assert "change" not in {finding.kind for finding in explanation.findings}
    if during is WORK:
        assert [] == explanation.findings
        assert any("no function takes significantly more CPU" in note.statement for note in explanation.ruled_out)


def test_a_comment_between_two_builds_changes_nothing(store: Store):
    incident = open_incident(store, START, None)
    healthy(store, WORK, build="aaaa", minutes=50)
    ran(store, "c-2", ("aaaa", 60), ("bbbb", 4))
    moved = profile(WORK, START, "bbbb")
    moved = moved.with_samples(
        replace(each, frames=tuple(replace(frame, line=frame.line + 3) for frame in each.frames))
        for each in moved.samples
    )
    save_capture(store, incident, "cpu", profile=moved, basis="interval", instance="c-2")

    assert [] == explain(store, incident).findings


def test_a_sick_instance_is_told_from_a_healthy_one_without_any_baseline(store: Store):
    incident = open_incident(store, START, None)
    pair = (sick(store, incident, HOT, build="a"), sick(store, incident, WORK, build="a", instance="c-1"))

    explanation = explain(store, incident)

    first = explanation.findings[0]
    assert ("instance", "strong", "c-2") == (first.kind, first.confidence, first.subject.name)
    assert "60 % of its on-CPU time is in `main.recompile`, there 0 %" in first.statement
    assert pair == first.evidence
    runs_again(store, explanation)


def test_two_instances_that_do_the_same_do_not_differ(store: Store):
    incident = open_incident(store, START, None)
    for instance in ("c-1", "c-2"):
        healthy(store, WORK, build="a", minutes=50, instance=instance)
        sick(store, incident, HOT, build="a", instance=instance)

    assert ["hot_code"] == [each.kind for each in explain(store, incident).findings]


def request(number: int, at: datetime, *, ms: float, failed: bool = False) -> Span:
    """The server span of a request with a trace of its own."""
    start_s = at.timestamp() - START_NS / 1e9
    status = Status(code=Status.STATUS_CODE_ERROR) if failed else None
    return span(
        f"{number + 1:016x}",
        trace_id=f"{number + 1:032x}",
        start_s=start_s,
        duration_s=ms / 1000,
        name="POST /checkout",
        kind=Span.SPAN_KIND_SERVER,
        status=status,
    )


def calls(number: int, at: datetime, *, times: int, fails: bool) -> list[Span]:
    """A request that asks inventory so many times."""
    root = request(number, at, ms=10, failed=fails)
    status = root.status if fails else None
    below = [
        span(
            f"{number + 1:08x}{nth + 1:08x}",
            trace_id=f"{number + 1:032x}",
            parent=f"{number + 1:016x}",
            start_s=at.timestamp() - START_NS / 1e9,
            duration_s=0.0001,
            name="POST /reserve",
            kind=Span.SPAN_KIND_CLIENT,
            status=status,
            attributes={"peer.service": "inventory"},
        )
        for nth in range(times)
    ]
    return [root, *below]


def store_spans(store: Store, spans: list[Span], instance: str = "c-2") -> None:
    save_spans(store, decode_traces(traces(*spans, instance=instance), PROTOBUF))


def test_slow_requests_of_one_instance_name_it(store: Store):
    incident = open_incident(store, START, None)
    for instance, slow_ms in (("c-1", 10), ("c-2", 200)):
        first = 10_000 * int(instance[-1])
        spans = [request(first + at, START - timedelta(seconds=300 - at), ms=10 + at % 3) for at in range(60)]
        spans += [request(first + 100 + at, START + timedelta(seconds=at), ms=slow_ms) for at in range(60)]
        store_spans(store, spans, instance)

    explanation = explain(store, incident)

    (found,) = [each for each in explanation.findings if each.kind == "instance"]
    assert ("c-2", "likely") == (found.subject.name, found.confidence)
    runs_again(store, explanation)


@pytest.mark.parametrize(
    ("before", "times", "fails", "is_storm"),
    [(1, 25, True, True), (1, 25, False, False), (1, 3, True, False), (20, 25, True, False)],
)
def test_a_failing_call_that_is_repeated_is_a_storm(store: Store, before, times, fails, is_storm):
    incident = open_incident(store, START, None)
    spans = []
    for number in range(60):
        spans += calls(number, START - timedelta(seconds=300 - number), times=before, fails=False)
        spans += calls(1000 + number, START + timedelta(seconds=number / 2), times=times, fails=fails)
    store_spans(store, spans)

    explanation = explain(store, incident)

    kinds = [each.kind for each in explanation.findings]
    assert is_storm == ("retry_storm" in kinds)
    if is_storm:
        first = explanation.findings[0]
        assert ("retry_storm", "strong", "POST /reserve") == (first.kind, first.confidence, first.subject.name)
        assert "to inventory 25 times although it fails: 25 calls per request, 1.0 before; 100 %" in first.statement
        runs_again(store, explanation)
