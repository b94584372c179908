"""A reader's SQL in a child process: what it answers, what it refuses, how it ends."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnose.config import SqlSettings
from diagnose.errors import QueryError
from diagnose.query import Limits, run_query
from diagnose.store.db import Store
from diagnose.store.incidents import add_timeline
from diagnose.store.snapshots import Snapshot, Snapshots

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
    "ANALYZE",
    "COMMENT ON TABLE span IS 'x'",
    "SET VARIABLE x = 1",
]
BEYOND = {
    "SELECT * FROM '/etc/passwd'": "sql_error",
    "SELECT * FROM read_csv('/etc/passwd')": "refused",
    "SELECT * FROM read_text('/etc/passwd')": "refused",
    "SELECT * FROM read_blob('/etc/hostname')": "refused",
    "SELECT * FROM read_blob('/proc/self/environ')": "refused",
    "SELECT * FROM read_parquet('/tmp/*.parquet')": "refused",
    "SELECT * FROM read_json('/etc/passwd')": "refused",
    "SELECT * FROM glob('/etc/*')": "refused",
    "SELECT * FROM parquet_metadata('/tmp/x.parquet')": "refused",
    "SELECT * FROM sniff_csv('/etc/passwd')": "refused",
    "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')": "refused",
    "SELECT * FROM query_table('/etc/passwd')": "sql_error",
    "EXPLAIN ANALYZE DELETE FROM span": "refused",
    "EXPLAIN ANALYZE COPY span TO '/tmp/stolen.csv'": "refused",
    "SELECT * FROM query('DROP TABLE span')": "sql_error",
    "SELECT * FROM query('SELECT 1; DROP TABLE span')": "sql_error",
    "SELECT getenv('PATH')": "sql_error",
    "SELECT * FROM secret_python_variable": "sql_error",
    "SELECT nextval('nothing')": "sql_error",
    "SELECT * FROM no_such_table": "sql_error",
    "SELEC 1": "sql_error",
    "": "sql_error",
    "-- nothing": "sql_error",
    "SELECT $missing": "sql_error",
    "SELECT error('stop')": "sql_error",
    "SELECT " + "1 + " * 20_000 + "1": "sql_error",
    "SELECT repeat('x', 2000000000)": "memory_limit",
    "SELECT list(range) FROM range(2000000000)": "memory_limit",
    "SELECT repeat('x', 1000000) FROM range(100)": "memory_limit",
    "SELECT * FROM sqlite_scan('/tmp/x', 'y')": "sql_error",
    "SELECT * FROM postgres_scan('', '', '')": "sql_error",
}
HIDDEN_WRITES = [  # DuckDB 1.5 has no such statements, 2.0 has
    "WITH gone AS (DELETE FROM span RETURNING *) SELECT * FROM gone",
    "WITH x AS (INSERT INTO timing VALUES ('a', 'b', 1) RETURNING *) SELECT * FROM x",
]
HARMLESS = [
    "SHOW TABLES",
    "DESCRIBE spans",
    "SUMMARIZE span",
    "FROM duckdb_settings()",
    "SELECT * FROM query('SELECT 42')",
    "EXPLAIN SELECT 1",
    "FROM spans LIMIT 1;",
    "/* a */ SELECT 1 -- b",
    "VALUES (1), (2)",
    "PIVOT (SELECT 1 AS a, 2 AS b) ON a IN (1) USING sum(b)",
]
SHOWN = [
    ("9007199254740992::BIGINT, 9007199254740993::BIGINT", [2**53, "9007199254740993"]),
    ("18446744073709551615::UBIGINT, 5::HUGEINT, 5::UHUGEINT", ["18446744073709551615", 5, 5]),
    (
        "(SELECT sum(x) FROM range(5) AS t(x)), (-170141183460469231731687303715884105727)::HUGEINT",
        [10, f"-{2**127 - 1}"],
    ),
    ("12.50::DECIMAL(9,2), [1.5::DECIMAL(5,2)]", ["12.50", ["1.50"]]),
    (
        "'nan'::DOUBLE, 'inf'::DOUBLE, '-inf'::FLOAT, 1.5::DOUBLE, 0.1::FLOAT",
        ["NaN", "Infinity", "-Infinity", 1.5, 0.1],
    ),
    ("TIMESTAMPTZ '2026-11-24 10:00:00.000001+01'", ["2026-11-24T09:00:00.000001Z"]),
    (
        "TIMESTAMP '1969-12-31 23:59:59.5', TIMESTAMP_S '2026-01-01'",
        ["1969-12-31T23:59:59.500000Z", "2026-01-01T00:00:00.000000Z"],
    ),
    ("TIMESTAMP_NS '2026-11-24 10:00:00.123456400'", ["2026-11-24T10:00:00.123456Z"]),
    (
        "'infinity'::TIMESTAMPTZ, '-infinity'::DATE, DATE '20000-01-01'",
        ["Infinity", "-Infinity", "6585322 days since 1970"],
    ),
    ("DATE '2026-11-24', TIME '10:00:00.5', INTERVAL 1 MONTH", ["2026-11-24", "10:00:00.500000", "1 month"]),
    ("[INTERVAL 1 DAY], TIMETZ '10:00:00+01'", ["[1 day]", "10:00:00+01"]),
    ("'abc'::BLOB, '101'::BIT, 'a'::ENUM ('a', 'b')", ["YWJj", "101", "a"]),
    ("NULL, true, 1::UTINYINT, 'ä'", [None, True, 1, "ä"]),
    ("MAP {'a': NULL}, MAP {1: 'x'}, MAP {[1]: 2}", [{"a": None}, {"1": "x"}, {"[1]": 2}]),
    ("map([]::VARCHAR[], []::VARCHAR[]), []::INTEGER[], NULL::MAP(VARCHAR, VARCHAR)", [{}, [], None]),
    ("{'x': 1, 'y': [1, NULL]}, NULL::STRUCT(a INTEGER)", [{"x": 1, "y": [1, None]}, None]),
    ("[{'at': TIMESTAMPTZ '2026-01-01 00:00:00+00'}]", [[{"at": "2026-01-01T00:00:00.000000Z"}]]),
    ("[1, NULL]::INTEGER[2], union_value(n := 2), '{\"a\":1}'::JSON, 1::VARIANT", [[1, None], "2", '{"a":1}', "1"]),
    ("'3f1c2d4e-0000-4000-8000-000000000000'::UUID", ["3f1c2d4e-0000-4000-8000-000000000000"]),
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


@pytest.mark.parametrize(("values", "expected"), SHOWN, ids=[values[:30] for values, _ in SHOWN])
def test_every_type_is_shown_so_that_nothing_is_lost(snapshot: Snapshot, values: str, expected: list[object]):
    found = run_query(snapshot, f"SELECT {values}", {}, limits=LIMITS)

    assert [expected] == json.loads(found.encode("json"))["rows"]
    assert 2 == len(found.encode("csv").decode().splitlines())
    assert 1 == pa.ipc.open_stream(found.encode("arrow")).read_all().num_rows
    assert 1 == pq.read_table(io.BytesIO(found.encode("parquet"))).num_rows


def test_the_order_of_the_rows_survives_types_that_are_shown_as_text(snapshot: Snapshot):
    sql = 'SELECT to_days(x::INTEGER) AS "a ""b""", x FROM range($n) AS t(x) ORDER BY x DESC; -- newest first'
    found = answer(snapshot, sql, n=50)

    assert list(range(49, -1, -1)) == [row[1] for row in found["rows"]]
    assert ['a "b"', "INTERVAL"] == list(found["columns"][0].values())


def test_parameters_are_named(snapshot: Snapshot):
    sql = "SELECT $text, $number + 1, $list[2], $nothing IS NULL"
    found = answer(snapshot, sql, text="it's", number=1, list=[1, 2], nothing=None)

    assert [["it's", 2, 2, True]] == found["rows"]


def test_an_empty_answer_has_columns(snapshot: Snapshot):
    found = answer(snapshot, "SELECT 1 AS x WHERE false")

    assert ([], [{"name": "x", "type": "INTEGER"}]) == (found["rows"], found["columns"])


def test_a_result_that_is_too_long_is_cut_and_says_so(snapshot: Snapshot):
    found = answer(snapshot, "SELECT * FROM range(1000000000)")

    assert (100, True) == (found["row_count"], found["truncated"])


def test_the_other_formats_hold_the_same_rows(snapshot: Snapshot, tmp_path: Path):
    found = run_query(snapshot, "SELECT 1 AS n, MAP {'a': 'b'} AS m", {}, limits=LIMITS)
    file = tmp_path / "rows.parquet"
    file.write_bytes(found.encode("parquet"))

    assert '"n","m"\n1,"{""a"":""b""}"\n' == found.encode("csv").decode()
    assert [1] == pa.ipc.open_stream(found.encode("arrow")).read_all()["n"].to_pylist()
    assert [(1,)] == duckdb.connect().execute("SELECT n FROM read_parquet(?)", [str(file)]).fetchall()


def test_in_csv_nothing_differs_from_an_empty_text(snapshot: Snapshot):
    found = run_query(snapshot, "SELECT NULL AS a, '' AS b, 'x \"y\"' AS c, true AS d", {}, limits=LIMITS)

    assert '"a","b","c","d"\n,"","x ""y""",true\n' == found.encode("csv").decode()


@pytest.fixture(scope="module")
def outcomes(snapshot: Snapshot) -> dict[str, str]:
    """How each of the statements below ended; four at a time, for a process each takes a while."""

    def ask(sql: str) -> str:
        try:
            answer(snapshot, sql)
        except QueryError as err:
            return err.code
        return "answered"

    with ThreadPoolExecutor(4) as pool:
        statements = [*REFUSED, *BEYOND, *HIDDEN_WRITES, *HARMLESS]
        return dict(zip(statements, pool.map(ask, statements), strict=True))


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_no_reading_statement_is_refused(outcomes: dict[str, str], sql: str):
    assert "refused" == outcomes[sql]


@pytest.mark.parametrize(("sql", "code"), BEYOND.items(), ids=[sql[:60] for sql in BEYOND])
def test_what_reaches_beyond_the_snapshot_or_is_wrong_says_why(outcomes: dict[str, str], sql: str, code: str):
    assert code == outcomes[sql]


@pytest.mark.parametrize("sql", HIDDEN_WRITES)
def test_a_write_inside_a_select_is_refused(outcomes: dict[str, str], sql: str):
    assert outcomes[sql] in ("refused", "sql_error")


@pytest.mark.parametrize("sql", HARMLESS)
def test_other_ways_to_read_are_answered(outcomes: dict[str, str], sql: str):
    assert "answered" == outcomes[sql]


@pytest.mark.parametrize(
    "endless",
    [
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i > 0) SELECT max(i) FROM n",
        "SELECT count(*) FROM range(100000000000) AS t(a) WHERE hash(a) % 7 = 3",
        "SELECT max(sha256(a::VARCHAR)) FROM range(10000000000) AS t(a)",
    ],
)
def test_an_endless_query_is_killed(snapshot: Snapshot, endless: str):
    began = time.monotonic()
    with pytest.raises(QueryError) as caught:
        run_query(snapshot, endless, {}, limits=Limits(timeout_s=0.3, rows=10, memory_bytes=512 * 2**20))

    assert "timeout" == caught.value.code
    assert time.monotonic() - began < 3


def test_a_reader_may_ask_for_fewer_rows_only():
    settings = SqlSettings(rows=100)

    assert (100, 100, 7) == tuple(Limits.of(settings, rows=rows).rows for rows in (None, 1000, 7))


def test_a_snapshot_that_is_gone_is_an_error_not_a_crash(snapshot: Snapshot, tmp_path: Path):
    gone = Snapshot(tmp_path / "gone.duckdb", snapshot.as_of, snapshot.written_s)
    with pytest.raises(QueryError):
        run_query(gone, "SELECT 1", {}, limits=LIMITS)


def test_nothing_of_all_that_changed_the_snapshot(snapshot: Snapshot):
    assert [[1]] == answer(snapshot, "SELECT count(*) FROM timeline_entry")["rows"]
    assert not Path("/tmp/stolen.csv").exists()  # noqa: S108  the name the statements above use


def test_a_snapshot_is_used_again_and_removed_when_nobody_reads_it(store: Store):
    snapshots = Snapshots(store)
    with snapshots.newest() as first, snapshots.newest() as second:
        assert first is second
    snapshots.close()

    assert [] == list((store.path / "snapshots").iterdir())


def test_an_old_snapshot_is_replaced_but_stays_while_somebody_reads_it(store: Store):
    snapshots = Snapshots(store, max_age_s=0.0)
    add_timeline(store, "inc-1", "note", "first")
    with snapshots.newest() as first:
        add_timeline(store, "inc-1", "note", "second")
        with snapshots.newest() as second:
            sql = "SELECT count(*) FROM timeline_entry"
            assert ([[1]], [[2]]) == (answer(first, sql)["rows"], answer(second, sql)["rows"])
        assert {first.file, second.file} == set((store.path / "snapshots").iterdir())

    with snapshots.newest():
        assert 1 == len(list((store.path / "snapshots").iterdir()))
    snapshots.close()


def test_what_a_crash_left_is_removed(store: Store):
    folder = store.path / "snapshots"
    folder.mkdir()
    (folder / ".20261124.duckdb.ab12").write_bytes(b"half")
    Snapshots(store)

    assert not folder.exists()
