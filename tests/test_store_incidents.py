from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from diagnose.errors import DecodeError, NotFound
from diagnose.model import IncidentKey, TraceRef
from diagnose.store.alerts import save_group
from diagnose.store.db import Store
from diagnose.store.incidents import (
    add_timeline,
    close_incident,
    get_incident,
    incident_detail,
    list_incidents,
    merge_traces,
    note_incident,
    open_incidents,
    save_timing,
    save_traces,
    timings_of,
    traces_of,
)
from diagnose.store.reports import save_revision
from tests.builders import alert, finding, group, minute

QUIET = timedelta(minutes=15)


def open_one(store: Store, service: str = "checkout", at: float = 0) -> str:
    answer = save_group(
        store,
        group(alert(job=service, starts_at=minute(at)), received_at=minute(at + 2)),
        lambda each: IncidentKey(each.labels["job"], each.labels["job"]),
        quiet=QUIET,
    )
    return answer.opened[0]


def ref(trace_id: str, confidence: float, **fields: Any) -> TraceRef:
    return TraceRef(trace_id, "exemplar", confidence, **fields)


def test_the_list_has_what_the_contract_promises(store):
    incident_id = open_one(store)

    assert (
        [
            {
                "id": incident_id,
                "status": "open",
                "title": "HighLatency · checkout",
                "service": "checkout",
                "severity": "warning",
                "started_at": "2026-11-24T10:00:00.000000Z",
                "ended_at": None,
                "alert_count": 1,
                "verdict": None,
            }
        ],
        None,
    ) == list_incidents(store)


def test_the_verdict_is_the_first_finding_of_the_newest_report(store):
    incident_id = open_one(store)
    publish(store, incident_id, 1, "matching is hot", "also this")
    assert "matching is hot" == list_incidents(store)[0][0]["verdict"]

    publish(store, incident_id, 2, "the lock is")
    assert "the lock is" == list_incidents(store)[0][0]["verdict"]
    assert [{"top_finding": "the lock is"}] == store.rows("SELECT top_finding FROM incidents")

    publish(store, incident_id, 3)
    assert list_incidents(store)[0][0]["verdict"] is None


def publish(store: Store, incident_id: str, revision: int, *statements: str) -> None:
    findings = [finding(statement=statement) for statement in statements]
    save_revision(
        store,
        incident_id,
        revision,
        "profiles captured",
        findings,
        ruled_out=[],
        missing=[],
        html="",
        markdown="",
        json_text="{}",
        sinks=[],
    )


@pytest.mark.parametrize(
    ("wanted", "services"),
    [
        ({}, ["c", "b", "a"]),
        ({"status": "open"}, ["c", "a"]),
        ({"status": "resolved"}, ["b"]),
        ({"service": "a"}, ["a"]),
        ({"service": "nobody"}, []),
        ({"since": minute(10)}, ["c", "b"]),
        ({"status": "open", "since": minute(11)}, ["c"]),
        ({"limit": 1}, ["c"]),
    ],
)
def test_the_list_can_be_narrowed(store, wanted, services):
    for number, service in enumerate("abc"):
        incident_id = open_one(store, service, at=10 * number)
        if service == "b":
            close_incident(store, incident_id, "done")

    assert services == [each["service"] for each in list_incidents(store, **wanted)[0]]


def test_pages_of_the_list_are_complete_even_when_incidents_opened_together(store):
    opened = {open_one(store, f"service-{number}", at=number // 3) for number in range(7)}
    pages, cursor = [], None
    while True:
        page, cursor = list_incidents(store, limit=3, cursor=cursor)
        pages.append([each["id"] for each in page])
        if cursor is None:
            break

    assert [3, 3, 1] == [len(page) for page in pages]
    assert opened == {each for page in pages for each in page}


@pytest.mark.parametrize("cursor", ["x", "AAAA", "bnVsbA==", "WzEsMl0=", "ä", "WyJub3ciLCAiYSJd"])
def test_a_cursor_that_is_not_ours_is_refused(store, cursor):
    with pytest.raises(DecodeError) as caught:
        list_incidents(store, cursor=cursor)

    assert "cursor" == caught.value.field


def test_one_incident_is_told_with_everything_that_belongs_to_it(store):
    incident_id = open_one(store)
    save_traces(store, incident_id, [ref("t1", 1.0, seen_at=minute(1), metric_value=2.5)])
    publish(store, incident_id, 1, "matching is hot")
    detail = incident_detail(store, incident_id)

    assert {
        "id",
        "status",
        "title",
        "service",
        "severity",
        "started_at",
        "ended_at",
        "opened_at",
        "revision",
        "merged_into",
        "alert_count",
        "verdict",
        "alerts",
        "traces",
        "captures",
        "findings",
        "deliveries",
        "timeline",
    } == detail.keys()
    assert {"alertname": "HighLatency", "job": "checkout", "severity": "warning"} == detail["alerts"][0]["labels"]
    assert ("t1", 1, "2026-11-24T10:01:00.000000Z") == tuple(
        detail["traces"][0][name] for name in ("trace_id", "rank", "seen_at")
    )
    assert ["kind", "statement"] == [name for name in detail["findings"][0] if name in ("kind", "statement")]
    assert "weight" not in detail["findings"][0]
    assert detail == json.loads(json.dumps(detail, allow_nan=False))


@pytest.mark.parametrize(
    ("ask", "more"), [(get_incident, []), (incident_detail, []), (close_incident, ["why"]), (note_incident, ["text"])]
)
def test_what_does_not_exist_is_not_found(store, ask, more):
    with pytest.raises(NotFound, match="inc-none"):
        ask(store, "inc-none", *more)


def test_open_incidents_come_longest_open_first(store):
    ids = [open_one(store, service, at=at) for service, at in (("late", 9), ("early", 1), ("over", 5))]
    close_incident(store, ids[2], "done")

    assert [ids[1], ids[0]] == [each.incident_id for each in open_incidents(store)]


def test_closing_twice_is_closing_once(store):
    incident_id = open_one(store)
    close_incident(store, incident_id, "first")
    ended_at = get_incident(store, incident_id).ended_at
    close_incident(store, incident_id, "second")

    assert ended_at == get_incident(store, incident_id).ended_at
    assert ["first"] == [
        line["text"] for line in incident_detail(store, incident_id)["timeline"] if line["kind"] == "closed"
    ]


def test_notes_and_lines_are_told_in_order_of_time(store):
    incident_id = open_one(store)
    note_incident(store, incident_id, "looks like the deploy")
    add_timeline(store, incident_id, "capture", "busy", at=minute(1))
    expected = [
        {"kind": "capture", "text": "busy"},
        {"kind": "opened", "text": "HighLatency fired"},
        {"kind": "note", "text": "looks like the deploy"},
    ]

    assert expected == [
        {"kind": line["kind"], "text": line["text"]} for line in incident_detail(store, incident_id)["timeline"]
    ]
    assert expected == store.rows("SELECT kind, text FROM timeline(?)", [incident_id])


def test_of_a_trace_found_twice_the_surer_finding_stays(store):
    incident_id = open_one(store)
    first = save_traces(store, incident_id, [ref("a", 0.5, evidence="window"), ref("b", 0.9), ref("a", 0.4)])
    again = save_traces(store, incident_id, [ref("a", 1.0, evidence="exemplar"), ref("b", 0.2), ref("c", 0.7)])

    assert (2, 1) == (first, again)
    assert [("a", 1.0, "exemplar", 1), ("b", 0.9, "", 2), ("c", 0.7, "", 3)] == [
        (each.trace_id, each.confidence, each.evidence, each.rank) for each in traces_of(store, incident_id)
    ]


def test_saving_the_same_traces_again_changes_nothing(store):
    incident_id = open_one(store)
    refs = [ref(f"t{number}", 1.0, metric_value=number / 7, seen_at=minute(number)) for number in range(20)]
    save_traces(store, incident_id, refs)
    before = traces_of(store, incident_id)

    assert 0 == save_traces(store, incident_id, refs)
    assert 0 == save_traces(store, incident_id, [])
    assert before == traces_of(store, incident_id)


def test_a_value_that_is_no_number_is_left_out(store):
    incident_id = open_one(store)
    save_traces(store, incident_id, [ref("a", 1.0, metric_value=float("nan"))])

    assert [None] == [each.metric_value for each in traces_of(store, incident_id)]


def test_equally_sure_traces_are_ranked_by_value_then_by_time():
    refs = [
        ref("none", 1.0),
        ref("none-later", 1.0, seen_at=minute(1)),
        ref("slow", 1.0, metric_value=2.0),
        ref("slowest", 1.0, metric_value=3.0, seen_at=minute(1)),
        ref("slowest-late", 1.0, metric_value=3.0, seen_at=minute(2)),
        ref("unsure", 0.5, metric_value=9.0),
    ]

    ranked = [each.trace_id for each in merge_traces(refs)]
    assert ["slowest-late", "slowest", "slow", "none-later", "none", "unsure"] == ranked


def test_only_the_first_time_of_a_step_counts(store):
    incident_id = open_one(store)
    save_timing(store, incident_id, "webhook_to_first_report", 900.0)
    save_timing(store, incident_id, "webhook_to_ack", 4.5)
    save_timing(store, incident_id, "webhook_to_ack", 700.0)

    assert [("webhook_to_ack", 4.5), ("webhook_to_first_report", 900.0)] == list(timings_of(store, incident_id).items())
