"""From stored rows to what a report shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from diagnose.model import Note, TraceRef
from diagnose.report.incident import build_report
from diagnose.report.render import render_html, render_json, render_markdown
from diagnose.report.shape import Report
from diagnose.store.db import Store
from diagnose.store.incidents import save_traces
from diagnose.store.reports import save_revision
from tests import reported_incident as recorded
from tests.reported_incident import ACTIVE, EXEMPLARS, FIRED, INSTANCE, RECEIVED, Explained

NOW = RECEIVED + timedelta(seconds=12)


def report_of(store: Store, incident_id: str, explained: Explained, **changes) -> Report:
    asked = {"revision": 2, "reason": "profiles captured", "external_url": "http://127.0.0.1:9095", "now": NOW}
    return build_report(store, incident_id, explained, **(asked | changes))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str, Explained]]:
    """The recorded incident; only for reading."""
    with Store.open(tmp_path_factory.mktemp("recorded") / "data") as store:
        yield store, *recorded.record(store)


@pytest.fixture(scope="module")
def report(shared: tuple[Store, str, Explained]) -> Report:
    return report_of(*shared)


def test_the_numbers_under_the_verdict_come_from_the_rule_the_finding_and_the_clock(report):
    assert [
        ("HTTPP50High", "70 ms", "← 2.5 ms"),
        ("hot code, main.faultBurnCPU", "98 %", "← 0 %"),
        ("certainty", "strong", "z = 23.4"),
        ("webhook → this cause", "12 s", ""),
    ] == [(each.label, each.value, each.note) for each in report.headline]


def test_the_time_to_this_cause_is_that_of_the_first_report_that_named_it(store):
    incident_id, explained = recorded.record(store)
    save_revision(
        store,
        incident_id,
        1,
        "first evidence",
        explained.findings,
        ruled_out=[],
        missing=[],
        html="",
        markdown="",
        json_text="{}",
        sinks=[],
    )
    first_at = store.row("SELECT created_at FROM report")["created_at"]
    later = report_of(store, incident_id, explained, now=first_at + timedelta(hours=1))
    first = report_of(store, incident_id, explained, now=first_at)

    assert first.headline[-1] == later.headline[-1]


def test_the_chart_is_the_rules_own_number_with_its_threshold(report):
    assert ("value of HTTPP50High", "s", "alert", 0.03) == (
        report.chart.title,
        report.chart.unit,
        report.chart.source,
        report.chart.threshold,
    )
    assert ["checkout /checkout"] == [line.label for line in report.chart.lines]
    assert ["onset 00:01:00", "fired 00:01:02", "profiled +105 ms"] == [mark.text for mark in report.chart.marks]
    assert (ACTIVE - timedelta(minutes=3), NOW) == (report.chart.since, report.chart.until)


def test_profiles_that_began_together_make_one_mark_although_one_has_no_lag(store):
    incident_id, explained = recorded.record(store)
    first_at = store.row("SELECT min(started_at) AS at FROM capture WHERE trigger = 'alert'")["at"]
    set_all = "UPDATE capture SET started_at = $at, lag_ms = CASE WHEN kind <> 'cpu' THEN lag_ms END"
    store.control.run(lambda cursor: cursor.execute(set_all, {"at": first_at}))
    marks = [mark.text for mark in report_of(store, incident_id, explained).chart.marks]

    assert 1 == len([text for text in marks if text.startswith("profiled")])


def test_without_the_rules_number_the_chart_comes_from_spans(store):
    incident_id, explained = recorded.record(store)
    store.telemetry.run(lambda cursor: cursor.execute("DELETE FROM live_metric_point"))
    chart = report_of(store, incident_id, explained).chart

    assert ("p99 of /checkout, from spans", "spans", None) == (chart.title, chart.source, chart.threshold)
    assert len(chart.lines[0].points) >= 3


def test_the_flame_graph_of_the_verdict_comes_first_and_is_compared_with_its_baseline(report):
    cpu = report.flames[0]

    assert ["cpu", "heap", "goroutine"] == [flame.kind for flame in report.flames]
    assert (INSTANCE, INSTANCE) == (cpu.during.instance, cpu.before.instance)
    assert (2_700_000_000, 50_000_000) == (cpu.during.total, cpu.before.total)
    assert ("main.faultBurnCPU", True) == (cpu.functions[0].name, cpu.functions[0].significant)
    assert cpu.functions[0].during > 0.9
    assert cpu.functions[0].before == 0
    assert None is report.flames[2].before
    assert "main.faultBurnCPU" in cpu.data["strings"]


def test_waiting_goroutines_are_named_by_the_programs_own_functions(report):
    names = [row.name for row in report.flames[2].functions]

    assert names
    assert [] == [name for name in names if name.startswith(("runtime.", "net/http.", "internal/"))]


def test_after_the_resolve_the_healthy_profile_stands_beside(store):
    incident_id, explained = recorded.record(store)
    after = recorded.capture(
        store,
        incident_id,
        "cpu",
        "lock-profile.pb.gz",
        "interval",
        at=ACTIVE + timedelta(minutes=9),
        trigger="resolved",
    )
    cpu = report_of(store, incident_id, explained).flames[0]

    assert after == cpu.after.profile_id
    assert [0.0] == [row.after for row in cpu.functions if row.name == "main.faultBurnCPU"]


def test_traces_tell_their_time_and_what_of_it_was_on_cpu(report):
    assert 4 == report.trace_count
    by_id = {row.trace_id: row for row in report.traces}
    sampled, early, lost = by_id[EXEMPLARS[1]], by_id[EXEMPLARS[0]], by_id["f" * 32]

    assert ("exemplar", 251, "price") == (sampled.found_by, sampled.duration_ns // 1_000_000, sampled.slowest_span)
    assert (4, "") == (sampled.samples, sampled.profile_note)
    assert 0.1 < sampled.on_cpu < 0.3
    assert (0, None, "none: ended before the capture") == (early.samples, early.on_cpu, early.profile_note)
    assert (None, "") == (lost.duration_ns, lost.slowest_span)


def test_the_samples_of_a_trace_are_those_a_join_finds(shared, report):
    store, *_ = shared
    sql = "SELECT count(DISTINCT trace_id) AS n FROM sample JOIN span USING (trace_id) WHERE trace_id = $trace_id"
    for row in report.traces:
        assert (row.samples > 0) == (store.row(sql, {"trace_id": row.trace_id})["n"] > 0)


def test_the_slowest_trace_stands_beside_a_normal_one(report):
    slowest, normal = report.waterfalls

    assert (EXEMPLARS[0], "slowest", 255) == (slowest.trace_id, slowest.label, slowest.duration_ns // 1_000_000)
    assert ["GET /checkout", "price", "stock", "payment"] == [row.name for row in slowest.rows]
    assert ["price"] == [row.name for row in slowest.rows if row.is_hottest]
    assert "normal" == normal.label
    assert normal.duration_ns < slowest.duration_ns
    assert normal.trace_id not in EXEMPLARS


def test_captures_say_what_came_of_them(report):
    assert {
        ("block", "refused", "HTTP 500: the profiler is in use", None),
        ("cpu", "done", "5 s, 270 samples, 99 % with a trace id", 105),
        ("goroutine", "done", "26 goroutines", 117),
        ("heap", "done", "1.52 MiB live", 154),
    } == {
        (row.kind, row.status, row.outcome, None if row.lag_ms is None else int(row.lag_ms)) for row in report.captures
    }


def test_instances_are_compared_with_their_own_health(report):
    (row,) = report.instances

    assert (INSTANCE, "", 142, 0) == (row.instance, row.role, row.requests, row.errors)
    assert (0.54, 0.01) == (round(row.cores_during, 2), round(row.cores_before, 2))
    assert (26, None) == (row.goroutines_during, row.goroutines_before)
    assert row.heap_during > row.heap_before


def test_an_alert_about_one_instance_makes_it_the_sick_one(store):
    incident_id = recorded.open_incident(store, instance=INSTANCE)
    recorded.capture(store, incident_id, "cpu", "cpu-profile.pb.gz", "interval")

    assert ["sick"] == [row.role for row in report_of(store, incident_id, Explained()).instances]


def test_only_web_addresses_of_an_alert_become_links(report):
    assert ["rule", "runbook", "incident.duckdb"] == [link.text for link in report.links]


def test_a_first_report_times_itself(store):
    incident_id = recorded.open_incident(store)
    timings = report_of(store, incident_id, Explained(), now=RECEIVED + timedelta(seconds=3)).timings_ms

    assert {"webhook_to_first_report": 3000.0} == timings


def test_an_alert_alone_makes_a_report_that_says_what_is_missing(store):
    incident_id = recorded.open_incident(store)
    report = report_of(store, incident_id, Explained())
    statements = [note.statement for note in report.missing]

    assert [["No", "profile", "was", "taken:"], ["No", "trace", "was", "found"]] == [
        each.split()[:4] for each in statements
    ]
    assert all(note.fix for note in report.missing)
    assert (None, (), (), ()) == (report.chart, report.flames, report.waterfalls, report.traces)
    assert "No profile was taken" in render_html(report)


def test_what_is_told_already_is_not_told_again(store):
    incident_id = recorded.open_incident(store)
    told = [Note("Prometheus did not answer: no trace could be found."), Note("No target, no profile.")]

    assert told == list(report_of(store, incident_id, Explained(missing=[*told, *told])).missing)


def test_profiles_that_were_all_refused_are_missing(store):
    incident_id = recorded.open_incident(store)
    recorded.refuse(store, incident_id, "cpu")
    save_traces(store, incident_id, [TraceRef("a" * 32, "exemplar", 1.0, seen_at=FIRED)])
    statements = [note.statement for note in report_of(store, incident_id, Explained()).missing]

    assert [
        "No profile could be taken; the table of captures says why for each.",
        "1 of 1 traces have no spans here: not arrived, sampled away or too old.",
    ] == statements


def test_a_profile_too_large_to_read_now_is_not_drawn(shared):
    report = report_of(*shared, max_profile_bytes=5000)

    assert ["heap", "goroutine"] == [flame.kind for flame in report.flames]


def test_the_page_of_a_recorded_incident_is_small_and_complete(report, tmp_path):
    html = render_html(report)
    (tmp_path / "report.html").write_text(html, encoding="utf-8")

    assert len(html.encode()) < 150_000
    assert all(word in html for word in ("main.faultBurnCPU", EXEMPLARS[0], "the profiler is in use", "GET /checkout"))
    assert "javascript:" not in render_markdown(report)


def test_report_json_holds_the_incident_as_the_api_has_it(shared, report):
    found = json.loads(render_json(report))["incident"]

    assert {
        "id",
        "status",
        "title",
        "service",
        "started_at",
        "ended_at",
        "alerts",
        "traces",
        "captures",
    } <= found.keys()
    assert {"findings", "deliveries", "timeline"} <= found.keys()
    assert 4 == len(found["traces"]) == len(found["captures"])
    assert (2, report.findings[0].statement) == (found["revision"], found["verdict"])
