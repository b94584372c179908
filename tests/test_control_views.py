from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from diagnose.store.db import Store, migrations
from diagnose.store.queries import HERE

SCRIPT = (HERE / "views" / "20_control.sql").read_text(encoding="utf-8")

# The contract: these columns, in this order, come first.
PROMISED = {
    "incidents": "incident_id status title service_name severity started_at ended_at alert_count top_finding",
    "alerts": "incident_id episode_id fingerprint alertname status source group_key labels annotations expr active_at "
    "starts_at ends_at received_at value",
    "alert_events": "incident_id episode_id fingerprint alertname status source group_key starts_at ends_at "
    "received_at",
    "incident_traces": "incident_id trace_id found_by confidence rank metric_value",
    "captures": "capture_id incident_id target service_name service_instance_id kind trigger status reason http_status "
    "requested_at started_at ended_at lag_ms bytes profile_id",
    "findings": "finding_id incident_id revision rank kind statement subject effect significance confidence sql",
    "notes": "incident_id revision kind rank statement fix sql",
    "deliveries": "incident_id revision sink status attempts last_error delivered_at external_ref",
    "rejected_requests": "path reason field body_bytes first_at last_at repeats body",
}


@pytest.mark.parametrize(("view", "promised"), PROMISED.items(), ids=PROMISED)
def test_a_view_has_the_promised_columns_and_each_has_a_comment(store: Store, view: str, promised: str):
    columns = store.rows(
        "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [view]
    )
    names = [column["column_name"] for column in columns]

    assert promised.split() == names[: len(promised.split())]
    assert [] == [column["column_name"] for column in columns if not column["comment"]]


def test_every_view_is_described(store: Store):
    views = store.rows("SELECT view_name, comment FROM duckdb_views() WHERE list_contains(?, view_name)", [[*PROMISED]])

    assert len(PROMISED) == len(views)
    assert [] == [view["view_name"] for view in views if not view["comment"]]


@pytest.mark.parametrize(
    ("column", "type_"),
    [
        ("alerts.labels", "MAP(VARCHAR, VARCHAR)"),
        ("alerts.annotations", "MAP(VARCHAR, VARCHAR)"),
        ("alerts.starts_at", "TIMESTAMP WITH TIME ZONE"),
        ("captures.bytes", "BIGINT"),
        ("incidents.alert_count", "BIGINT"),
        ("findings.evidence", "VARCHAR[]"),
    ],
)
def test_columns_have_the_promised_types(store: Store, column: str, type_: str):
    found = store.row("SELECT data_type FROM duckdb_columns() WHERE concat(table_name, '.', column_name) = ?", [column])

    assert {"data_type": type_} == found


def test_views_and_comments_live_in_an_exported_file_of_any_name(tmp_path: Path):
    with duckdb.connect() as writer:
        writer.execute(f"ATTACH '{tmp_path / 'any name.duckdb'}' AS exported (STORAGE_VERSION 'v1.0.0'); USE exported")
        for script in (*migrations("control"), SCRIPT):
            writer.execute(script)
        writer.execute("INSERT INTO timeline_entry VALUES ('inc-1', '2026-11-24 10:00:00Z', 'note', 'seen')")

    with duckdb.connect(tmp_path / "any name.duckdb", read_only=True) as reader:
        assert [("note", "seen")] == reader.execute("SELECT kind, text FROM timeline('inc-1')").fetchall()
        assert [] == reader.execute("FROM incidents").fetchall()
        comments = reader.execute("SELECT count(comment) FROM duckdb_columns() WHERE table_name = 'alerts'").fetchone()
        assert (21,) == comments
