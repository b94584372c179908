from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from diagnose.errors import NotFound, StoreError
from diagnose.store.db import Store
from diagnose.store.export import export_incident
from tests.filled_store import CALLS, CONTROL_VIEWS, TELEMETRY_VIEWS, Filled


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with Store.open(tmp_path_factory.mktemp("export") / "data") as store:
        yield Filled(store)


@pytest.fixture(scope="module")
def exported(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The incident's file under a name that is not the one it was written with."""
    folder = tmp_path_factory.mktemp("elsewhere")
    export_incident(filled.store, filled.incident, folder / "incident.duckdb")
    return (folder / "incident.duckdb").rename(folder / "as the user named it.db")


@pytest.fixture
def opened(exported: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(exported), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def count(connection: duckdb.DuckDBPyConnection, what: str) -> int:
    return connection.execute(f"SELECT count(*) FROM {what}").fetchall()[0][0]  # noqa: S608  the test's own text


@pytest.mark.parametrize("view", [*TELEMETRY_VIEWS, *CONTROL_VIEWS])
def test_every_view_answers_with_rows_and_comments(opened, view):
    assert count(opened, view) > 0
    comments = opened.execute("SELECT comment FROM duckdb_columns() WHERE table_name = ?", [view]).fetchall()
    assert all(comment for (comment,) in comments)


@pytest.mark.parametrize("call", CALLS)
def test_every_macro_answers_as_in_the_service(opened, filled, call):
    names = {name: getattr(filled, name) for name in ("incident", "trace", "base", "new")}
    sql = f"SELECT * FROM {call.format(**names)}"  # noqa: S608  the test's own text
    rows = opened.execute(sql).fetchall()

    if not call.startswith(("service_map", "compare_attributes")):
        assert rows == [tuple(row.values()) for row in filled.store.rows(sql)]
        assert rows


def test_the_sql_of_a_finding_runs_unchanged(opened, filled):
    [(sql,)] = opened.execute("SELECT sql FROM findings").fetchall()
    [(z, significant)] = opened.execute(sql).fetchall()

    assert {"z": z, "significant": significant} == filled.store.row(sql)
    assert significant


def test_what_belongs_to_others_stays_out(opened, filled):
    assert [(filled.incident,)] == opened.execute("SELECT incident_id FROM incidents").fetchall()
    assert {"checkout"} == {name for (name,) in opened.execute("SELECT DISTINCT service_name FROM spans").fetchall()}
    assert 0 == count(opened, "spans WHERE start_time < (SELECT started_at - INTERVAL 15 MINUTE FROM incidents)")
    assert 0 == count(opened, f"profiles WHERE profile_id = '{filled.unrelated}'")
    assert 0 == count(opened, "function WHERE name = 'other.main'")
    assert 0 == count(opened, "weight WHERE weight_no // 64 NOT IN (SELECT profile_no FROM profile)")
    assert {filled.base, filled.new} <= {row for (row,) in opened.execute("SELECT profile_id FROM profiles").fetchall()}
    assert {"baseline", "alert"} == {row for (row,) in opened.execute("SELECT trigger FROM captures").fetchall()}


def test_what_prometheus_was_asked_for_earlier_is_kept(opened):
    assert 1 == count(opened, "metrics WHERE source = 'prometheus'")
    assert 1 == count(opened, "exemplars WHERE source = 'prometheus'")


def test_report_notes_timings_and_messages_are_inside(opened):
    for table, rows in (("report", 1), ("note", 2), ("timing", 1), ("message", 2), ("alert_event", 2), ("delivery", 1)):
        assert rows == count(opened, table), table
    assert 0 == count(opened, "duckdb_tables() WHERE table_name = 'schema_version'")


def test_the_file_names_no_database(opened):
    texts = opened.execute(
        "SELECT sql FROM duckdb_views() WHERE NOT internal UNION ALL SELECT sql FROM duckdb_tables() "
        "UNION ALL SELECT macro_definition FROM duckdb_functions() WHERE NOT internal"
    ).fetchall()

    assert [] == [
        text for (text,) in texts if text and any(name in text for name in ("export_", "telemetry.", "control."))
    ]


def test_nothing_but_the_file_is_left(filled, tmp_path):
    export_incident(filled.store, filled.incident, tmp_path / "a.duckdb")
    export_incident(filled.store, filled.incident, tmp_path / "a.duckdb")

    assert ["a.duckdb"] == [file.name for file in tmp_path.iterdir()]
    databases = filled.store.rows("SELECT database_name AS name FROM duckdb_databases() WHERE NOT internal")
    assert {"memory", "control", "telemetry"} == {row["name"] for row in databases}


def test_a_place_that_cannot_be_written_is_an_error_and_leaves_nothing(filled, tmp_path):
    with pytest.raises(StoreError):
        export_incident(filled.store, filled.incident, tmp_path / "missing" / "a.duckdb")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").touch()
    with pytest.raises(StoreError):
        export_incident(filled.store, filled.incident, tmp_path / "folder")

    assert ["folder"] == [file.name for file in tmp_path.iterdir()]


def test_an_unknown_incident(filled, tmp_path):
    with pytest.raises(NotFound):
        export_incident(filled.store, "inc-0", tmp_path / "a.duckdb")


def test_an_incident_without_anything_can_be_exported(filled, tmp_path):
    export_incident(filled.store, filled.other, tmp_path / "other.duckdb")
    with duckdb.connect(str(tmp_path / "other.duckdb"), read_only=True) as connection:
        assert 1 == count(connection, "incidents")
        assert 0 == count(connection, "incident_traces")


def test_ingest_goes_on_while_an_export_is_written(filled, tmp_path):
    done = filled.store.telemetry.submit(lambda cursor: cursor.execute("SELECT 1").fetchall())
    export_incident(filled.store, filled.incident, tmp_path / "a")

    assert [(1,)] == done.result(timeout=5)


def test_another_process_reads_the_file(exported):
    code = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql('FROM incidents').fetchall())"
    command = [sys.executable, "-c", code, str(exported)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)

    assert "HighLatency" in done.stdout
