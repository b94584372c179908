"""A reader's SQL in a child process: what it answers, what it refuses, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from diagnose.errors import QueryError
from diagnose.query import Limits, Snapshot, Snapshots, run_query
from diagnose.store.db import Store
from diagnose.store.incidents import add_timeline

LIMITS = Limits(timeout_s=5.0, rows=100, memory_bytes=512 * 2**20)

REFUSED = [
    "CREATE TABLE x (i INTEGER)",
    "DROP TABLE span",
    "DELETE FROM span",
    "INSERT INTO timing VALUES ('a', 'b', 1)",
    "UPDATE incident SET status = 'x'",
    "TRUNCATE span",
    "ALTER TABLE span ADD COLUMN x INTEGER",
    "COPY span TO '/tmp/stolen.csv'",
    "COPY (SELECT 1) TO '/tmp/stolen.csv'",
    "COPY span FROM '/etc/passwd'",
    "ATTACH '/tmp/other.duckdb'",
    "ATTACH ':memory:' AS other",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '100GB'",
    "RESET memory_limit",
    "PRAGMA enable_profiling",
    "CHECKPOINT",
    "VACUUM",
    "EXPORT DATABASE '/tmp/stolen'",
    "IMPORT DATABASE '/tmp/stolen'",
    "CREATE SECRET s (TYPE s3)",
    "CREATE MACRO m() AS 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE SCHEMA s",
    "CREATE SEQUENCE s",
    "CREATE TYPE t AS ENUM ('a')",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "CALL pragma_version()",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SELECT 1; DROP TABLE span",
    "COMMIT; DROP TABLE span",
    "SELECT 1; SELECT 2",
    "-- nothing",
    "ANALYZE",
    "COMMENT ON TABLE span IS 'x'",
    "SET VARIABLE x = 1",
]
FAILS = [
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/hostname')",
    "SELECT * FROM read_parquet('/tmp/*.parquet')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM parquet_metadata('/tmp/x.parquet')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
    "SELECT * FROM query_table('/etc/passwd')",
    "SELECT * FROM query('DROP TABLE span')",
    "SELECT getenv('PATH')",
    "WITH gone AS (DELETE FROM span RETURNING *) SELECT * FROM gone",
    "WITH x AS (INSERT INTO timing VALUES ('a', 'b', 1) RETURNING *) SELECT * FROM x",
    "EXPLAIN ANALYZE DELETE FROM span",
    "SELECT nextval('nothing')",
    "SELECT * FROM no_such_table",
    "SELEC 1",
    "SELECT $missing",
    "SELECT repeat('x', 2000000000)",
    "SELECT list(range) FROM range(2000000000)",
    "SELECT * FROM sqlite_scan('/tmp/x', 'y')",
    "SELECT * FROM postgres_scan('', '', '')",
    "SELECT error('stop')",
]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    with Store.open(tmp_path_factory.mktemp("query")) as store:
        add_timeline(store, "inc-1", "note", "it's here", datetime(2026, 11, 24, 10, 2, 11, 123456, tzinfo=UTC))
        snapshots = Snapshots(store)
        with snapshots.newest() as newest:
            yield newest
        snapshots.close()


def answer(snapshot: Snapshot, sql: str, **params: object) -> dict[str, object]:
    return json.loads(run_query(snapshot, sql, params, limits=LIMITS).encode("json"))


def test_rows_come_with_types_and_the_time_of_the_snapshot(snapshot: Snapshot):
    found = answer(snapshot, 'SELECT "at", kind, text FROM timeline_entry WHERE incident_id = $id', id="inc-1")

    assert [["2026-11-24T10:02:11.123456Z", "note", "it's here"]] == found["rows"]
    assert ["TIMESTAMP WITH TIME ZONE", "VARCHAR", "VARCHAR"] == [each["type"] for each in found["columns"]]
    assert (1, False) == (found["row_count"], found["truncated"])
    assert str(found["as_of"]).endswith("Z")


def test_values_that_json_cannot_hold_are_written_so_that_nothing_is_lost(snapshot: Snapshot):
    sql = (
        "SELECT 9007199254740993::BIGINT, 12.50::DECIMAL(9,2), 'nan'::DOUBLE, '-inf'::DOUBLE, MAP {'a': 'b'}, "
        "{'x': 1, 'y': [1, 2]}, 'abc'::BLOB, NULL, true, [1.5::DOUBLE], DATE '2026-11-24', 1::UTINYINT"
    )

    expected = [
        *("9007199254740993", "12.50", "NaN", "-Infinity", {"a": "b"}, {"x": 1, "y": [1, 2]}, "YWJj"),
        *(None, True, [1.5], "2026-11-24", 1),
    ]
    assert [expected] == answer(snapshot, sql)["rows"]


def test_an_empty_map_stays_an_object_and_an_empty_answer_has_columns(snapshot: Snapshot):
    assert [[{}]] == answer(snapshot, "SELECT map([]::VARCHAR[], []::VARCHAR[])")["rows"]
    assert [] == answer(snapshot, "SELECT 1 AS x WHERE false")["rows"]


def test_a_result_that_is_too_long_is_cut_and_says_so(snapshot: Snapshot):
    found = answer(snapshot, "SELECT * FROM range(1000000000)")

    assert (100, True) == (found["row_count"], found["truncated"])


def test_the_other_formats_hold_the_same_rows(snapshot: Snapshot, tmp_path: Path):
    found = run_query(snapshot, "SELECT 1 AS n, MAP {'a': 'b'} AS m", {}, limits=LIMITS)
    file = tmp_path / "rows.parquet"
    file.write_bytes(found.encode("parquet"))

    assert b'"n","m"\n1,"{""a"": ""b""}"\n' == found.encode("csv")
    assert [1] == pa.ipc.open_stream(found.encode("arrow")).read_all()["n"].to_pylist()
    assert [(1,)] == duckdb.connect().execute("SELECT n FROM read_parquet(?)", [str(file)]).fetchall()


def test_explain_is_answered(snapshot: Snapshot):
    assert answer(snapshot, "EXPLAIN SELECT 1")["rows"]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_no_reading_statement_is_refused(snapshot: Snapshot, sql: str):
    with pytest.raises(QueryError) as caught:
        answer(snapshot, sql)

    assert caught.value.code in ("refused", "sql_error")


@pytest.mark.parametrize("sql", FAILS)
def test_what_reaches_beyond_the_snapshot_fails(snapshot: Snapshot, sql: str):
    with pytest.raises(QueryError):
        answer(snapshot, sql)


def test_an_endless_query_is_stopped(snapshot: Snapshot):
    endless = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(QueryError) as caught:
        run_query(snapshot, endless, {}, limits=Limits(timeout_s=0.3, rows=10, memory_bytes=512 * 2**20))

    assert caught.value.code in ("timeout", "memory_limit")


def test_nothing_of_all_that_changed_the_snapshot(snapshot: Snapshot):
    assert [[1]] == answer(snapshot, "SELECT count(*) FROM timeline_entry")["rows"]
    assert not Path("/tmp/stolen.csv").exists()  # noqa: S108  the name the statements above use


def test_a_snapshot_is_used_again_and_removed_when_nobody_reads_it(store: Store):
    snapshots = Snapshots(store)
    with snapshots.newest() as first, snapshots.newest() as second:
        assert first is second
    snapshots.close()

    assert [] == list((store.path / "snapshots").iterdir())
