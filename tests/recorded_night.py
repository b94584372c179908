"""
A recorded fault as an engineer on call finds it: the incident of recorded_incident.py with all that stands around it.

What a test or a page shows must be the same every time, so ids and times of our own are set to those of the recording.
"""

from __future__ import annotations

from datetime import timedelta

from diagnose.model import Effect, Exemplar, Finding, Note, Subject
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.db import Store
from diagnose.store.incidents import save_timing
from diagnose.store.metrics import save_exemplars, save_series
from diagnose.store.reports import save_revision
from diagnose.store.spans import save_spans
from tests.otlp import Span, span, traces
from tests.recorded_incident import KINDS as ALL_KINDS
from tests.recorded_incident import load_recorded, save_capture

INCIDENT = "inc-recorded"
KINDS = {  # the profiles that matter; loading takes a while
    "errors": ("cpu",),
    "dependency": ("cpu",),
    "lock": ("cpu", "mutex", "wall"),
    "leak": ("cpu", "goroutine"),
    "heap": ("cpu", "heap"),
}
OPEN = ("errors",)  # still firing; the others have ended
RECORDED_TIMES = """
UPDATE episode SET
  incident_id = $id, episode_id = 'ep-recorded', active_at = starts_at - INTERVAL 4 SECOND, value = 0.238,
  received_at = starts_at + INTERVAL 7 MILLISECOND,
  annotations = MAP {'summary': 'checkout /checkout: p95 is 238ms'};
UPDATE incident SET
  incident_id = $id, started_at = started_at - INTERVAL 4 SECOND, opened_at = started_at + INTERVAL 7 MILLISECOND;
UPDATE incident_trace SET incident_id = $id;
UPDATE timeline_entry SET incident_id = $id, "at" = (SELECT opened_at FROM incident) WHERE kind <> 'resolved';
UPDATE timeline_entry SET incident_id = $id;
UPDATE timing SET incident_id = $id;
UPDATE capture SET
  incident_id = CASE WHEN incident_id IS NULL THEN NULL ELSE $id END,
  requested_at = coalesce((SELECT started_at FROM profile WHERE profile.profile_id = capture.profile_id),
    (SELECT opened_at FROM incident)) - INTERVAL 50 MILLISECOND;
UPDATE capture SET
  started_at = requested_at + INTERVAL 50 MILLISECOND, lag_ms = 50,
  ended_at = requested_at + to_microseconds(60000
    + (SELECT duration_ns // 1000 FROM profile WHERE profile.profile_id = capture.profile_id)),
  bytes = (SELECT bytes FROM profile WHERE profile.profile_id = capture.profile_id)
WHERE profile_id IS NOT NULL;
"""
REPORTED = """
UPDATE timeline_entry SET "at" = (SELECT opened_at FROM incident) + INTERVAL 8 SECOND WHERE kind = 'report';
UPDATE delivery SET
  created_at = (SELECT opened_at FROM incident) + INTERVAL 8 SECOND,
  status = CASE sink WHEN 'oncall' THEN 'delivered' ELSE 'pending' END,
  attempts = CASE sink WHEN 'oncall' THEN 1 ELSE 3 END,
  delivered_at = CASE sink WHEN 'oncall' THEN (SELECT opened_at FROM incident) + INTERVAL 9 SECOND END,
  last_error = CASE sink WHEN 'oncall' THEN NULL ELSE 'HTTP 503' END
"""
STILL_FIRING = """
UPDATE episode SET status = 'firing', ends_at = NULL;
UPDATE incident SET status = 'open', ended_at = NULL;
DELETE FROM timeline_entry WHERE kind = 'resolved' OR text LIKE '%ended%'
"""


def load_night(store: Store, fault: str) -> str:
    """Store the recorded *fault* and what stands around it; the end of what was recorded, RFC 3339."""
    incident = load_recorded(store, fault, kinds=KINDS.get(fault, ALL_KINDS))
    save_capture(store, incident, "block", status="refused", reason="the profiler is in use")
    for step, ms in (("webhook_to_ack", 35.0), ("webhook_to_first_report", 1765.0), ("webhook_to_cpu_report", 8166.0)):
        save_timing(store, incident, step, ms)
    _run(store, RECORDED_TIMES)
    _save_numbers(store)
    _save_repeated_calls(store)
    _save_report(store)
    _run(store, REPORTED)
    if fault in OPEN:
        _run(store, STILL_FIRING)
    started = "(SELECT min(started_at) FROM profile)"
    store.telemetry.run(lambda cursor: cursor.execute(f"UPDATE resource SET first_seen = {started}"))  # noqa: S608
    return str(store.row("SELECT strftime(max(start_time), '%Y-%m-%dT%H:%M:%SZ') AS at FROM spans")["at"])


def _run(store: Store, script: str) -> None:
    def run(cursor: object) -> None:
        for statement in script.split(";"):
            if statement.strip():
                params = {"id": INCIDENT} if "$id" in statement else {}
                cursor.execute(statement, params)  # type: ignore[attr-defined]

    store.control.run(run)


def _save_numbers(store: Store) -> None:
    """The curve of the alert, and what its metric points at."""
    row = store.row("SELECT started_at FROM incidents")
    start = row["started_at"]
    points = [(start + timedelta(seconds=4 * step), 0.19 if step > 0 else 0.004) for step in range(-40, 4)]
    save_series(store, "p95 of http_request_duration_seconds", "s", "checkout", [({"route": "/checkout"}, points)])
    slow = store.rows(
        "SELECT trace_id, span_id, start_time, duration_ns FROM spans JOIN incident_traces USING (trace_id) "
        "WHERE service_name = 'checkout' AND kind = 'SERVER' ORDER BY duration_ns DESC, span_id LIMIT 5"
    )
    labels = {"route": "/checkout", "job": "checkout"}
    found = [
        Exemplar(
            metric_name="http_request_duration_seconds_bucket",
            labels=labels,
            trace_id=each["trace_id"],
            span_id=each["span_id"],
            value=each["duration_ns"] / 1e9,
            at=each["start_time"],
        )
        for each in slow
    ]
    save_exemplars(store, found, service="checkout")


def _save_repeated_calls(store: Store) -> None:
    """Two requests that were not recorded: one asks the same seven times, one tries a call three times."""
    row = store.row("SELECT max(start_time_unix_nano) AS ns FROM spans")
    at = row["ns"] - 2_000_000_000

    def call(number: int, parent: str, name: str, trace: str, *, failed: bool = False) -> Span:
        times = {
            "start_time_unix_nano": at + number * 1_000_000,
            "end_time_unix_nano": at + number * 1_000_000 + 900_000,
        }
        status = {"code": 2 if failed else 0}
        kind = Span.SPAN_KIND_CLIENT
        return span(
            f"{trace[:1]}{number:015x}", trace_id=trace, parent=parent, name=name, kind=kind, status=status, **times
        )

    many, again = "a" * 32, "b" * 32
    spans = [call(number, "a" * 16, "SELECT article", many) for number in range(1, 8)]
    spans += [call(number, "b" * 16, "GET /stock", again, failed=number < 3) for number in range(1, 4)]
    save_spans(store, decode_traces(traces(*spans, service="recommendation", instance="recommendation-1"), PROTOBUF))


def _save_report(store: Store) -> None:
    row = store.row(
        "SELECT profile_id FROM captures JOIN profiles USING (profile_id) "
        "WHERE captures.kind = 'cpu' AND incident_id IS NOT NULL ORDER BY profiles.started_at LIMIT 1"
    )
    name = "diagnose.example/target/internal/shop.(*PriceMatcher).compareEveryPair"
    finding = Finding(
        kind="hot_code",
        statement="98 % of on-CPU time is in shop.(*PriceMatcher).compareEveryPair; it was 0 % before",
        subject=Subject("function", name, "shop/price_matcher.go", 80),
        effect=Effect(98.0, "percent", 0.0, 98.0),
        significance={"method": "rate", "z": 12.0},
        confidence="strong",
        evidence=(row["profile_id"],),
        sql=f"FROM top_functions('{row['profile_id']}', 'cpu') LIMIT 5",
    )
    save_revision(
        store,
        INCIDENT,
        1,
        "the CPU profile",
        [finding],
        ruled_out=[Note("Garbage collection: 1 % of CPU")],
        missing=[Note("The block profile could not be taken.", "Free the profiler.")],
        html="",
        markdown="",
        json_text="{}",
        sinks=["oncall", "tickets"],
    )
