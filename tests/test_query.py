"""A reader's SQL in a child process: what it answers, in which forms and types."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnose.config import SqlSettings
from diagnose.errors import QueryError
from diagnose.query.pool import WorkerPool
from diagnose.query.question import Limits, QueryAnswer, Question
from diagnose.query.saved import spelled_out
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.db import Store
from diagnose.store.incidents import add_timeline
from diagnose.store.snapshots import Snapshot, Snapshots
from diagnose.store.spans import save_spans
from tests.otlp import span, traces

LIMITS = Limits(timeout_s=20.0, rows=100, memory_bytes=512 * 2**20)
Run = Callable[..., QueryAnswer]

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


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    opened = WorkerPool(4, wait_s=60)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def run(snapshot: Snapshot, pool: WorkerPool) -> Run:
    """Ask one question of any worker."""

    def ask(
        sql: str, form: str = "json", limits: Limits = LIMITS, on: Snapshot = snapshot, **params: object
    ) -> QueryAnswer:
        with pool.worker(None) as worker:
            return worker.ask(Question(sql, params, form=form), on, limits)

    return ask


def test_rows_come_with_types_and_the_time_of_the_snapshot(run: Run):
    found = run('SELECT "at", kind, text FROM timeline_entry WHERE incident_id = $id', id="inc-1").json

    assert [["2026-11-24T10:02:11.123456Z", "note", "it's here"]] == found["rows"]
    assert ["TIMESTAMP WITH TIME ZONE", "VARCHAR", "VARCHAR"] == [each["type"] for each in found["columns"]]
    assert (1, False) == (found["row_count"], found["truncated"])
    assert str(found["as_of"]).endswith("Z")


@pytest.mark.parametrize(("values", "expected"), SHOWN, ids=[values[:30] for values, _ in SHOWN])
def test_every_type_is_shown_so_that_nothing_is_lost(run: Run, values: str, expected: list[object]):
    sql = f"SELECT {values}"

    assert [expected] == run(sql).json["rows"]
    assert 2 == len(run(sql, "csv").body.decode().splitlines())
    assert 1 == pa.ipc.open_stream(run(sql, "arrow").body).read_all().num_rows
    assert 1 == pq.read_table(io.BytesIO(run(sql, "parquet").body)).num_rows


def test_the_order_of_the_rows_survives_types_that_are_shown_as_text(run: Run):
    sql = 'SELECT to_days(x::INTEGER) AS "a ""b""", x FROM range($n) AS t(x) ORDER BY x DESC; -- newest first'
    found = run(sql, n=50).json

    assert list(range(49, -1, -1)) == [row[1] for row in found["rows"]]
    assert ['a "b"', "INTERVAL"] == list(found["columns"][0].values())


def test_parameters_are_named(run: Run):
    sql = "SELECT $text, $number + 1, $list[2], $nothing IS NULL"
    found = run(sql, text="it's", number=1, list=[1, 2], nothing=None).json

    assert [["it's", 2, 2, True]] == found["rows"]


def test_an_empty_answer_has_columns(run: Run):
    found = run("SELECT 1 AS x WHERE false").json

    assert ([], [{"name": "x", "type": "INTEGER"}]) == (found["rows"], found["columns"])


def test_a_result_that_is_too_long_is_cut_and_says_so(run: Run):
    found = run("SELECT * FROM range(1000000000)").json

    assert (100, True) == (found["row_count"], found["truncated"])


def test_the_other_formats_hold_the_same_rows(run: Run, tmp_path: Path):
    sql = "SELECT 1 AS n, MAP {'a': 'b'} AS m"
    file = tmp_path / "rows.parquet"
    file.write_bytes(run(sql, "parquet").body)
    arrow = pa.ipc.open_stream(run(sql, "arrow").body).read_all()

    assert '"n","m"\n1,"{""a"":""b""}"\n' == run(sql, "csv").body.decode()
    assert ([1], b"false") == (arrow["n"].to_pylist(), arrow.schema.metadata[b"truncated"])
    assert [(1,)] == duckdb.connect().execute("SELECT n FROM read_parquet(?)", [str(file)]).fetchall()


def test_in_csv_nothing_differs_from_an_empty_text(run: Run):
    found = run("SELECT NULL AS a, '' AS b, 'x \"y\"' AS c, true AS d", "csv")

    assert '"a","b","c","d"\n,"","x ""y""",true\n' == found.body.decode()


@pytest.mark.parametrize("sql", HARMLESS)
def test_other_ways_to_read_are_answered(run: Run, sql: str):
    assert run(sql).json["columns"]


def test_a_reader_may_ask_for_fewer_rows_only():
    settings = SqlSettings(rows=100)

    assert (100, 100, 7) == tuple(Limits.of(settings, rows=rows).rows for rows in (None, 1000, 7))


def test_a_snapshot_that_is_gone_is_an_error_not_a_crash(run: Run, snapshot: Snapshot, tmp_path: Path):
    gone = Snapshot(tmp_path / "gone.duckdb", snapshot.as_of, snapshot.written_s)
    with pytest.raises(QueryError):
        run("SELECT 1", on=gone)


def test_a_snapshot_is_used_again_and_removed_when_nobody_reads_it(store: Store):
    snapshots = Snapshots(store)
    with snapshots.newest() as first, snapshots.newest() as second:
        assert first is second
    snapshots.close()

    assert not (store.path / "snapshots").exists()


def test_nobody_waits_for_a_snapshot_while_the_last_one_will_do(store: Store):
    snapshots = Snapshots(store, max_age_s=600)
    with snapshots.newest() as first, snapshots._renewing, snapshots.newest() as second:
        assert first is second
    snapshots.close()


def test_an_ageing_snapshot_is_renewed_beside_its_readers(store: Store):
    snapshots = Snapshots(store, max_age_s=600)
    with snapshots.newest() as first:
        add_timeline(store, "inc-1", "note", "later")
        snapshots._renew_early()
        with snapshots.newest() as second:
            assert first.file != second.file
            assert first.file.exists()
    snapshots.close()


def test_an_old_snapshot_is_replaced_but_stays_while_somebody_reads_it(store: Store, run: Run):
    snapshots = Snapshots(store, max_age_s=0.0)
    add_timeline(store, "inc-1", "note", "first")
    with snapshots.newest() as first:
        add_timeline(store, "inc-1", "note", "second")
        with snapshots.newest() as second:
            sql = "SELECT count(*) FROM timeline_entry"
            assert ([[1]], [[2]]) == (run(sql, on=first).json["rows"], run(sql, on=second).json["rows"])
        assert {first.file, second.file} == set((store.path / "snapshots").glob("2*.duckdb"))

    with snapshots.newest():
        assert 1 == len(list((store.path / "snapshots").glob("2*.duckdb")))
    snapshots.close()


def test_a_saved_query_sees_the_snapshot_it_is_asked_of(store: Store, pool: WorkerPool):
    snapshots = Snapshots(store, max_age_s=0.0)
    counts = []
    with pool.worker(None) as worker, snapshots.newest() as before:
        save_spans(store, decode_traces(traces(span("1" * 16)), PROTOBUF))
        with snapshots.newest() as after:
            for snapshot in (before, after, after, before):
                question = spelled_out(Question(saved="what-is-stored", params={"at": "2026-11-24 00:30:00+00"}))
                counts.append(worker.ask(question, snapshot, LIMITS).json["row_count"])
    snapshots.close()

    assert [0, 1, 1, 0] == counts


def test_what_a_statement_switches_on_is_over_with_it(snapshot: Snapshot, pool: WorkerPool):
    with pool.worker(None) as worker:
        saved = spelled_out(Question(saved="firing"))
        try:
            worker.ask(Question("SELECT * FROM enable_logging('QueryLog')"), snapshot, LIMITS)
        except QueryError as err:  # DuckDB 2.0 does not let it switch on anything
            assert "the configuration has been locked" in str(err)  # noqa: PT017  1.5 answers
        worker.ask(saved, snapshot, LIMITS)
        worker.ask(Question("SELECT 'a word nobody else may see'"), snapshot, LIMITS)
        worker.ask(saved, snapshot, LIMITS)

        assert [] == worker.ask(Question("FROM duckdb_logs()"), snapshot, LIMITS).json["rows"]
        assert [] == worker.ask(Question("FROM duckdb_logs", saved="firing"), snapshot, LIMITS).json["rows"]


def test_what_a_crash_left_is_removed(store: Store):
    folder = store.path / "snapshots"
    folder.mkdir()
    (folder / ".20261124.duckdb.ab12").write_bytes(b"half")
    Snapshots(store)

    assert not folder.exists()
