"""Rows move from the live tables into Parquet files, and nobody who reads can tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb
import pytest

from diagnose.errors import StoreError
from diagnose.receive.otlp import PROTOBUF, decode_traces
from diagnose.store.db import Store
from diagnose.store.export import export_incident
from diagnose.store.manifest import TABLES, Segment
from diagnose.store.recent import MOST_SPANS, RecentTraces
from diagnose.store.segments import MIB, Segments, due
from diagnose.store.snapshots import Snapshot, Snapshots, write_snapshot
from diagnose.store.spans import save_spans, trace_spans
from tests.filled_store import CONTROL_VIEWS, TELEMETRY_VIEWS, Filled, calls
from tests.otlp import span, traces

HOUR = datetime(2026, 11, 24, 10, tzinfo=UTC)


def answers(connection: duckdb.DuckDBPyConnection, filled: Filled) -> dict[str, list[str]]:
    """What every documented view and macro shows, in an order of its own."""
    asked = (*TELEMETRY_VIEWS, *CONTROL_VIEWS, *calls(filled))
    return {what: sorted(map(str, connection.execute(f"SELECT * FROM {what}").fetchall())) for what in asked}  # noqa: S608


@contextmanager
def opened(snapshot: Snapshot) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(snapshot.file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def add_span(store: Store, number: int, *, service: str = "checkout", start_s: float = 0.0) -> None:
    body = traces(span(f"{number:016x}", start_s=start_s), service=service)
    assert save_spans(store, decode_traces(body, PROTOBUF))


def span_count(store: Store) -> int:
    return store.row("SELECT count(*) AS n FROM spans")["n"]


def test_the_same_rows_are_found_wherever_they_are(tmp_path: Path):
    with Store.open(tmp_path / "data") as store:
        filled = Filled(store)
        expected = answers(store.cursor(), filled)
        segments = Segments(store)
        segments.move()

        assert {"span", "metric_point", "metric_histogram", "exemplar", "sample"} == {s.table for s in segments.all()}
        assert [0] * 5 == [store.row(f"SELECT count(*) AS n FROM {table.live}")["n"] for table in TABLES]  # noqa: S608
        assert expected == answers(store.cursor(), filled)

        add_span(store, 1, start_s=5000)
        segments.move()
        later = answers(store.cursor(), filled)
        assert len(expected["spans"]) + 1 == len(later["spans"])
        assert 2 == segments.merge(datetime.now(UTC) + timedelta(days=2))
        assert later == answers(store.cursor(), filled)

        snapshots = Snapshots(store, segments)
        with snapshots.newest(fresh=True) as snapshot, opened(snapshot) as connection:
            assert later == answers(connection, filled)
            bodies = connection.execute(
                "SELECT sum(octet_length(body)) FROM (FROM message UNION ALL BY NAME FROM profile)"
            )
            assert [(0,)] == bodies.fetchall()
            assert [(0,)] == connection.execute("SELECT count(*) FROM sql_audit").fetchall()
        export_incident(store, filled.incident, tmp_path / "incident.duckdb")
        snapshots.close()

    with duckdb.connect(str(tmp_path / "incident.duckdb"), read_only=True) as connection:
        [(spans,)] = connection.execute("SELECT count(*) FROM spans").fetchall()
    assert len(later["spans"]) - 3 == spans  # one of another service, one too early and one too late stay out

    (tmp_path / "data").rename(tmp_path / "moved")
    with Store.open(tmp_path / "moved", read_only=True) as store:
        assert later == answers(store.cursor(), filled)
        with opened(write_snapshot(store, tmp_path)) as connection:
            assert later == answers(connection, filled)
    with Store.open(tmp_path / "moved") as store:
        Segments(store)
        assert later == answers(store.cursor(), filled)


def test_readers_find_every_span_once_whatever_moves_meanwhile(store: Store):
    segments, sent, reads, wrong = Segments(store), 0, [], []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            least = sent
            found = store.row("SELECT count(*) AS n, count(DISTINCT span_id) AS ids FROM spans")
            reads.append(found["n"])
            if not least <= found["n"] == found["ids"] <= sent + 1:
                wrong.append((least, found))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 61):
        add_span(store, number)
        sent = number
        if number % 4 == 0:
            segments.move()
        if number % 20 == 0:
            segments.merge(datetime.now(UTC) + timedelta(days=2))
    done.set()
    for reader in readers:
        reader.join()

    assert [] == wrong
    assert reads
    assert 60 == span_count(store)
    assert 1 == len(segments.all())


def test_a_span_is_found_by_id_and_by_search_at_once_and_after_it_moved(store: Store):
    segments = Segments(store)
    for number in (1, 2):
        add_span(store, number)
        trace_id = store.row("SELECT any_value(trace_id) AS id FROM spans")["id"]
        assert number == len(trace_spans(store, trace_id))
        assert number == store.row("SELECT count(*) AS n FROM spans WHERE service_name = 'checkout'")["n"]
        segments.move()
        assert number == len(trace_spans(store, trace_id.upper()))

    assert [] == trace_spans(store, "ab" * 16)
    assert [] == trace_spans(store, "no hex")


def test_a_trace_is_read_again_only_when_something_of_it_arrived_moved_or_went(store: Store):
    segments = Segments(store)
    add_span(store, 1)
    trace_id = store.row("SELECT trace_id FROM spans")["trace_id"]
    before = trace_spans(store, trace_id)
    for change in (
        segments.move,
        partial(add_span, store, 2),
        segments.move,
        lambda: segments.replace(segments.all()),
        lambda: segments.drop(segments.all()),
    ):
        change()
        now = trace_spans(store, trace_id)

        assert now is not before
        assert len(now) == store.row("SELECT count(*) AS n FROM spans")["n"]
        assert now is trace_spans(store, trace_id.upper()) or not now
        before = now


def test_traces_nobody_asked_for_lately_make_room():
    recent = RecentTraces()
    for number in range(3):
        recent.add(str(number), "source", [{}] * (MOST_SPANS // 3))
        recent.get("0", "source")
    recent.add("3", "source", [{}] * 10)
    recent.add("too large", "source", [{}] * (MOST_SPANS + 1))

    assert [True, False, True, True, False] == [
        recent.get(name, "source") is not None for name in ("0", "1", "2", "3", "too large")
    ]


def test_a_query_about_an_hour_opens_one_group_of_files(store: Store):
    segments = Segments(store)
    for number in range(20):  # six groups of 2, then of 4
        add_span(store, number + 1, start_s=3600 * number)
        segments.move()
    first = store.row("SELECT min(start_time) AS at FROM spans")["at"]

    def groups(since: datetime, until: datetime) -> int:
        sql = "EXPLAIN SELECT name FROM spans WHERE start_time >= $since AND start_time < $until"
        plan: str = store.rows(sql, {"since": since, "until": until})[0]["explain_value"]
        return plan.count("Function:")

    assert 8 == groups(first, first + timedelta(days=1))
    for hour in (0, 9, 19):
        since, until = first + timedelta(hours=hour), first + timedelta(hours=hour + 1)
        found = store.rows("SELECT span_id FROM spans WHERE start_time >= $1 AND start_time < $2", [since, until])
        assert (1, [f"{hour + 1:016x}"]) == (groups(since, until), [row["span_id"] for row in found])


def test_files_that_were_replaced_stay_while_somebody_reads_them(store: Store):
    segments = Segments(store)
    snapshots = Snapshots(store, segments)
    for number in (1, 2):
        add_span(store, number)
        segments.move()
    with snapshots.newest() as snapshot:
        segments.merge(datetime.now(UTC) + timedelta(days=2))
        segments.sweep(grace_s=0.0)
        with opened(snapshot) as connection:
            assert [(2,)] == connection.execute("SELECT count(DISTINCT span_id) FROM spans").fetchall()
        assert 3 == len(list(segments.folder.rglob("*.parquet")))
    segments.sweep(grace_s=60.0)
    assert 3 == len(list(segments.folder.rglob("*.parquet")))
    segments.sweep(grace_s=0.0)
    snapshots.close()

    assert [segments.folder / segments.all()[0].file] == list(segments.folder.rglob("*.parquet"))


def test_files_nobody_names_are_removed_at_start(store: Store):
    add_span(store, 1)
    segments = Segments(store)
    segments.move()
    orphan = segments.folder / "span" / "2026-11-24" / "10" / "0000-torn.parquet"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"PAR1 half")
    Segments(store)

    assert not orphan.parent.exists()
    assert 1 == span_count(store)


def test_what_cannot_be_written_stays_in_the_live_table(store: Store):
    add_span(store, 1)
    segments = Segments(store)
    segments.folder.write_text("a file where the folder should be")
    with pytest.raises(StoreError):
        segments.move()
    segments.folder.unlink()
    assert 1 == span_count(store)
    segments.move()

    assert (1, 1) == (span_count(store), len(segments.all()))


def segment(at_s: float, size: int = 1000, *, until_s: float | None = None, pinned: bool = False) -> Segment:
    since, until = HOUR + timedelta(seconds=at_s), HOUR + timedelta(seconds=at_s if until_s is None else until_s)
    return Segment(f"{at_s}-{until_s}", "span", pinned, since, until, since, until, 10, size)


def merged(segments: list[Segment], now: datetime) -> list[Segment]:
    """What is left when all that is due was merged."""
    while group := next(due(segments, now), None):
        first, last = group[0], group[-1]
        start_s, end_s = ((at - HOUR).total_seconds() for at in (first.arrived_since, last.arrived_until))
        left = [each for each in segments if each not in group]
        segments = sorted([*left, segment(start_s, sum(each.bytes for each in group), until_s=end_s)], key=_arrival)
    return segments


def _arrival(each: Segment) -> tuple[datetime, str]:
    return each.arrived_until, each.file


@pytest.mark.parametrize("size", [2_000, 200_000, 20 * MIB], ids=["small", "medium", "large"])
def test_the_current_hour_never_has_more_than_forty_files(size: int):
    """A file every five seconds; large ones come every fifteen, with as many rows as the live table may hold."""
    segments: list[Segment] = []
    every_s = 15 if size > MIB else 5
    most = 0
    for at_s in range(0, 2 * 3600, every_s):
        segments = merged([*segments, segment(at_s, size)], HOUR + timedelta(seconds=at_s))
        most = max(
            most, sum(each.arrived_until >= HOUR + timedelta(seconds=at_s) - timedelta(hours=1) for each in segments)
        )

    assert most <= 40


def test_small_files_of_a_day_become_one_and_large_ones_stay():
    small = [segment(3600 * hour, until_s=3600 * hour + 3000) for hour in range(24)]
    large = [segment(3600 * hour, 100 * MIB, until_s=3600 * hour + 3000) for hour in range(24)]
    next_day = HOUR + timedelta(days=2)

    assert 2 == len(merged(small, next_day))  # the day ends at midnight
    assert 24 == len(merged(large, next_day))
