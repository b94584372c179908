"""
Stored rows of one incident → a Report.

Nothing is fetched from outside here, and nothing is concluded: findings come from `explain`, everything else is shown
as it was stored. What is not there is said, with what to do about it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from diagnose.model import utc_now
from diagnose.report import text
from diagnose.report.alert import build_chart, headline
from diagnose.report.captures import capture_rows
from diagnose.report.flames import MOST_BODY_BYTES, build_flames, choose_comparisons
from diagnose.report.instances import build_instances, sick_instances
from diagnose.report.missing import what_is_missing
from diagnose.report.rows import HEALTHY_TIME, SHOWN_TRACES, SQL, Rows
from diagnose.report.shape import Explanation, Link, Report, TimelineRow, TraceRow, Waterfall
from diagnose.report.traces import CpuShare, CpuWindow, moment_ns, root_of, trace_row, waterfall
from diagnose.store.db import Store
from diagnose.store.incidents import timings_of

MOST_TIMELINE = 60


def build_report(
    store: Store,
    incident_id: str,
    explanation: Explanation,
    *,
    revision: int,
    reason: str,
    external_url: str,
    now: datetime | None = None,
    max_profile_bytes: int = MOST_BODY_BYTES,
) -> Report:
    """
    Everything one revision shows. Raises NotFound.

    *revision* and *reason* are what `save_revision` will be given; *now* is when the report is made. No flame
    graph is drawn of a profile whose file is above *max_profile_bytes*.
    """
    rows = Rows(store, incident_id, now or utc_now())
    verdict = explanation.findings[0] if explanation.findings else None
    profiled = [each.service_instance_id for each in rows.captures]
    sick = sick_instances(rows.episodes, explanation.findings, profiled)
    comparisons = choose_comparisons(store, rows.incident, rows.captures, explanation.findings, sick)
    flames = build_flames(store, comparisons, max_profile_bytes)
    chart = build_chart(rows)
    timings = _timings(rows)
    traces = trace_rows(rows)
    return Report(
        incident=rows.incident,
        detail=_detail(rows, explanation, revision),
        revision=revision,
        reason=reason,
        created_at=rows.now,
        external_url=external_url,
        findings=tuple(explanation.findings),
        alerts=rows.episodes,
        ruled_out=tuple(explanation.ruled_out),
        missing=tuple(what_is_missing(explanation.missing, rows.captures, traces, flames)),
        timings_ms=timings,
        headline=tuple(headline(rows, chart, verdict)),
        links=tuple(_links(rows, external_url)),
        routes=tuple(dict.fromkeys(each.labels["route"] for each in rows.episodes if each.labels.get("route"))),
        chart=chart,
        flames=tuple(flames),
        waterfalls=tuple(waterfalls(rows)),
        traces=tuple(traces),
        trace_count=len(rows.refs),
        captures=tuple(capture_rows(rows.captures, rows.heads)),
        instances=tuple(build_instances(store, rows.incident, rows.heads.values(), sick, rows.now)),
        timeline=tuple(_timeline(rows.detail)),
    )


def _detail(rows: Rows, explanation: Explanation, revision: int) -> dict[str, Any]:
    """The incident as the API will have it once this revision is stored."""
    return rows.detail | {
        "revision": revision,
        "verdict": explanation.findings[0].statement if explanation.findings else None,
    }


def _timings(rows: Rows) -> dict[str, float]:
    """This report itself is the first one, or the first with a CPU profile, if none is recorded yet."""
    timings = timings_of(rows.store, rows.incident_id)
    made_ms = (rows.now - rows.incident.opened_at).total_seconds() * 1000
    timings.setdefault("webhook_to_first_report", made_ms)
    if any(head.kind == "cpu" for head in rows.heads.values()):
        timings.setdefault("webhook_to_cpu_report", made_ms)
    return timings


def _links(rows: Rows, external_url: str) -> Iterable[Link]:
    """What alerts bring along, if it is a web address, and the export."""
    wanted = [("rule", each.generator_url) for each in rows.episodes]
    for name in ("runbook_url", "dashboard_url"):
        wanted += [(name.removesuffix("_url"), each.annotations.get(name, "")) for each in rows.episodes]
    shown: dict[str, str] = {}
    for name, url in wanted:
        if text.web_link(url):
            shown.setdefault(name, text.web_link(url))
    yield from (Link(name, url) for name, url in shown.items())
    export = f"{external_url.rstrip('/')}/api/v1/incidents/{rows.incident_id}/incident.duckdb"
    yield Link("incident.duckdb", export)


def trace_rows(rows: Rows) -> list[TraceRow]:
    """The best traces, at most SHOWN_TRACES."""
    windows = [
        CpuWindow(
            head.profile_id, head.instance, moment_ns(head.started_at), moment_ns(head.started_at) + head.duration_ns
        )
        for each in rows.captures
        if each.trigger != "resolved" and (head := rows.heads.get(each.profile_id or "")) and head.kind == "cpu"
    ]
    refs = rows.refs[:SHOWN_TRACES]
    shares: dict[str, list[CpuShare]] = defaultdict(list)
    asked = {"profile_ids": [each.profile_id for each in windows], "trace_ids": [each.trace_id for each in refs]}
    for row in rows.store.rows(SQL["cpu_of_traces"], asked):
        shares[row["trace_id"]].append(CpuShare(row["profile_id"], row["cpu_ns"], row["samples"]))
    return [trace_row(ref, rows.traces.get(ref.trace_id, []), windows, shares[ref.trace_id]) for ref in refs]


def waterfalls(rows: Rows) -> Iterable[Waterfall]:
    """The slowest trace of the incident (or a failed one, when all are quick) beside a normal one from before it."""
    if not rows.traces:
        return
    trace_id, spans = max(rows.traces.items(), key=lambda each: root_of(each[1]).duration_ns)
    is_failed = any(span.is_error for span in spans) and not _is_about_time(rows)
    yield waterfall(trace_id, spans, "failed" if is_failed else "slowest")
    asked = {
        "service": rows.incident.service_name,
        "route": rows.route,
        "since": rows.incident.started_at - HEALTHY_TIME,
        "until": rows.incident.started_at,
        "trace_ids": [ref.trace_id for ref in rows.refs],
    }
    for row in rows.store.rows(SQL["normal_trace"], asked):
        for normal_id, normal in rows.spans_of([row["trace_id"]]).items():
            yield waterfall(normal_id, normal, "normal")


def _is_about_time(rows: Rows) -> bool:
    words = " ".join(f"{each.alertname} {each.expr or ''}".lower() for each in rows.episodes)
    return any(word in words for word in ("latency", "duration", "p99", "slow"))


def _timeline(detail: Mapping[str, Any]) -> Iterable[TimelineRow]:
    for line in detail["timeline"][-MOST_TIMELINE:]:
        yield TimelineRow(datetime.fromisoformat(line["at"]), line["kind"], line["text"])
