"""The views and macros others rely on are there, each with an example that runs; the files behind them are Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from diagnose.cli.reference import VIEWS, schema_examples
from diagnose.store.db import Store
from diagnose.store.segments import Segments
from tests.recorded_night import load_night

VIEWS_AND_COLUMNS = {
    "incidents": "incident_id, status, title, service_name, severity, started_at, ended_at, alert_count, top_finding",
    "alerts": "incident_id, episode_id, fingerprint, alertname, status, source, group_key, labels, annotations, expr, "
    "active_at, starts_at, ends_at, received_at, value",
    "alert_events": "incident_id, episode_id, fingerprint, alertname, status, received_at",
    "incident_traces": "incident_id, trace_id, found_by, confidence, rank, metric_value",
    "captures": "capture_id, incident_id, target, service_name, service_instance_id, kind, trigger, status, reason, "
    "http_status, requested_at, started_at, ended_at, lag_ms, bytes, profile_id",
    "findings": "finding_id, incident_id, revision, rank, kind, statement, subject, effect, significance, confidence, "
    "sql",
    "deliveries": "incident_id, revision, sink, status, attempts, last_error, delivered_at, external_ref",
    "spans": "trace_id, span_id, parent_span_id, name, kind, service_name, service_instance_id, start_time, "
    "start_time_unix_nano, duration_ns, status_code, status_message, http_request_method, http_route, "
    "http_response_status_code, attributes, resource_attributes, events, links",
    "metrics": "name, type, unit, service_name, attributes, time, value, stale",
    "histograms": "name, unit, service_name, attributes, start_time, time, count, sum, min, max, bounds, "
    "bucket_counts, scale, zero_count, positive_offset, positive_counts, negative_offset, negative_counts",
    "exemplars": "metric_name, attributes, time, value, trace_id, span_id",
    "profiles": "profile_id, capture_id, service_name, service_instance_id, kind, started_at, duration_ns, "
    "sample_count, build_id, labels",
    "profile_samples": "profile_id, kind, value_type, unit, value, trace_id, span_id, labels, stack_id, "
    "leaf_function, functions",
}
MACROS = (
    "trace, service_map, p50, p95, p99, top_functions, flamegraph, profile_diff, span_cpu, compare_attributes, timeline"
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("schema") / "data") as store:
        load_night(store, "cpu")
        yield store


@pytest.mark.parametrize("view", VIEWS_AND_COLUMNS)
def test_a_view_has_the_columns_others_rely_on(recorded: Store, view: str):
    columns = {row["column_name"] for row in recorded.rows(f"DESCRIBE {view}")}

    assert set() == set(VIEWS_AND_COLUMNS[view].split(", ")) - columns


def test_the_macros_others_rely_on_are_there(recorded: Store):
    found = recorded.rows("SELECT function_name FROM duckdb_functions() WHERE function_type LIKE '%macro'")

    assert set() == set(MACROS.split(", ")) - {row["function_name"] for row in found}


def test_every_documented_view_has_an_example(recorded: Store):
    views = {row["name"] for row in recorded.rows(VIEWS)}

    assert views | {"macros"} == set(schema_examples())


@pytest.mark.parametrize("view", schema_examples())
def test_the_example_runs(recorded: Store, view: str):
    text = schema_examples()[view]
    for statement in text.split(";\n") if view == "macros" else [text]:
        recorded.rows(statement.removesuffix(";"))


def test_other_tools_read_the_files(recorded: Store):
    """The lines of docs/how-to/parquet.md."""
    Segments(recorded).move()
    folder = recorded.path / "segments" / "span"
    pattern = str(folder / "**" / "*.parquet")
    stored = recorded.row("SELECT count(*) AS n FROM spans")["n"]

    assert stored > 0
    assert (stored,) == duckdb.execute(f"SELECT count(*) FROM read_parquet('{pattern}')").fetchone()  # noqa: S608
    assert stored == pl.read_parquet(pattern).height
    assert stored == len(pd.concat(map(pd.read_parquet, Path(folder).rglob("*.parquet"))))
