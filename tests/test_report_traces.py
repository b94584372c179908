from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from diagnose.model import TraceRef
from diagnose.report.traces import (
    MOST_ROWS,
    CpuShare,
    CpuWindow,
    build_trace,
    covered,
    hottest,
    moment_ns,
    root_of,
    trace_row,
    waterfall,
)

MS = 1_000_000
REF = TraceRef("t" * 32, "exemplar", 1.0)


def span(span_id: str, parent: str | None, start_ms: float, length_ms: float, **more: Any) -> dict[str, Any]:
    """A row as `spans_of_traces` gives it; times in milliseconds."""
    row = {
        "span_id": span_id,
        "parent_span_id": parent,
        "name": span_id,
        "kind": "INTERNAL",
        "service_name": "checkout",
        "service_instance_id": "checkout-1",
        "start_time_unix_nano": int(start_ms * MS),
        "duration_ns": int(length_ms * MS),
        "status_code": "UNSET",
    }
    return row | more


CHECKOUT = [
    span("root", None, 0, 100, kind="SERVER"),
    span("match", "root", 5, 80),
    span("reserve", "root", 85, 10, kind="CLIENT"),
    span("stock", "reserve", 86, 4),
]


@pytest.mark.parametrize(
    ("intervals", "length"),
    [([], 0), ([(2, 5), (4, 7)], 5), ([(-5, 3), (8, 20)], 5), ([(0, 10), (2, 3)], 10), ([(11, 12)], 0), ([(3, 3)], 0)],
)
def test_time_covered_twice_counts_once(intervals, length):
    assert length == covered(intervals, 0, 10)


def test_self_time_is_what_no_child_took():
    spans = build_trace(CHECKOUT)

    assert [("root", 0, 10), ("match", 1, 80), ("reserve", 1, 6), ("stock", 2, 4)] == [
        (each.name, each.depth, each.self_ns // MS) for each in spans
    ]
    assert ("root", "match") == (root_of(spans).name, hottest(spans).name)


def test_broken_traces_are_shown_all_the_same():
    lost = span("lost", "never seen", 20, 5)
    own = span("own", "own", 30, 5)
    spans = build_trace([*CHECKOUT, *CHECKOUT, lost, own])

    assert ["root", "match", "reserve", "stock", "lost", "own"] == [each.name for each in spans]
    assert [0, 0] == [each.depth for each in spans[-2:]]
    assert build_trace([span("a", "b", 0, 1), span("b", "a", 0, 1)]) == []


def test_a_waterfall_places_spans_in_the_trace_and_marks_the_hottest():
    shown = waterfall("t" * 32, build_trace(CHECKOUT), "slowest")

    assert [("root", 0.0, 1.0), ("match", 0.05, 0.8), ("reserve", 0.85, 0.1), ("stock", 0.86, 0.04)] == [
        (row.name, round(row.offset, 3), round(row.length, 3)) for row in shown.rows
    ]
    assert [False, True, False, False] == [row.is_hottest for row in shown.rows]
    assert [False, False, True, False] == [row.is_client for row in shown.rows]
    assert (100 * MS, 0) == (shown.duration_ns, shown.hidden)


def test_like_calls_in_a_row_become_one_line():
    calls = [span(f"q{number}", "root", 10 * number, 5, name="SELECT", kind="CLIENT") for number in range(8)]
    below = span("wire", "q3", 31, 2, status_code="ERROR")
    shown = waterfall("t" * 32, build_trace([CHECKOUT[0], *calls, below]), "slowest")

    assert [("root", 1), ("SELECT", 8)] == [(row.name, row.count) for row in shown.rows]
    assert (40 * MS, 0.75) == (shown.rows[1].duration_ns, shown.rows[1].length)
    assert 1 == shown.hidden


def test_a_long_trace_keeps_its_longest_lines():
    many = [span(f"step{number}", "root", number, 1 + number % 7) for number in range(60)]
    shown = waterfall("t" * 32, build_trace([CHECKOUT[0], *many]), "slowest")

    assert MOST_ROWS == len(shown.rows)
    assert 61 - MOST_ROWS == shown.hidden
    assert "root" == shown.rows[0].name
    assert {5, 6, 7} >= {row.duration_ns // MS for row in shown.rows[1:]}


def window(start_ms: float, end_ms: float, instance: str = "checkout-1") -> CpuWindow:
    return CpuWindow("cpu-1", instance, int(start_ms * MS), int(end_ms * MS))


def test_the_share_on_cpu_is_of_the_part_that_was_profiled():
    row = trace_row(REF, build_trace(CHECKOUT), [window(50, 5000)], [CpuShare("cpu-1", 20 * MS, 2)])

    assert (0.4, 2, "cpu-1", "") == (row.on_cpu, row.samples, row.profile_id, row.profile_note)
    assert ("match", 0.8, 100 * MS) == (row.slowest_span, row.slowest_share, row.duration_ns)


@pytest.mark.parametrize(
    ("windows", "note"),
    [
        ([], "no CPU profile"),
        ([window(200, 300)], "none: ended before the capture"),
        ([window(-300, -200)], "none: began after the capture"),
        ([window(0, 300, "checkout-2")], "none: not in a profiled process then"),
        ([window(97, 300)], "none: 3 ms profiled, sampled every 10 ms of CPU"),
    ],
)
def test_a_trace_without_samples_says_why(windows, note):
    row = trace_row(REF, build_trace(CHECKOUT), windows, [])

    assert (None, note) == (row.on_cpu, row.profile_note)


def test_a_trace_whose_spans_are_not_here_is_listed():
    row = trace_row(REF, [], [window(0, 1)], [CpuShare("cpu-1", MS, 1)])

    assert (REF.trace_id, None, 1) == (row.trace_id, row.duration_ns, row.samples)


def test_moments_are_exact_to_the_microsecond():
    assert 1_795_478_462_588_860_000 == moment_ns(datetime(2026, 11, 24, 0, 1, 2, 588_860, UTC))
