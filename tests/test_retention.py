"""What is old goes, what incidents need stays, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from diagnose.config import Retention as RetentionSettings
from diagnose.store.db import Store
from diagnose.store.retention import Removed, Retention
from diagnose.store.segments import Segments
from tests.filled_store import Filled


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    with Store.open(tmp_path / "data") as store:
        yield Filled(store)


def retention(store: Store, **settings: Any) -> Retention:
    return Retention(store, Segments(store), RetentionSettings(**settings), min_free_bytes=0)


def ids(store: Store, sql: str) -> set[Any]:
    return {next(iter(row.values())) for row in store.rows(sql)}


def later(**age: float) -> datetime:
    return datetime.now(UTC) + timedelta(**age)


def test_what_is_young_stays(filled: Filled):
    store = filled.store
    before = store.row("SELECT count(*) AS n FROM spans")
    keeper = retention(store)
    Segments(store).move()
    removed = keeper.run(later(hours=71))

    assert (0, 0, 0, 0) == (removed.files, removed.pinned_rows, removed.profiles, removed.incidents)
    assert removed.bytes > 0
    assert before == store.row("SELECT count(*) AS n FROM spans")


def test_of_old_telemetry_the_traces_metrics_and_profiles_of_incidents_stay(filled: Filled):
    store = filled.store
    traces = ids(store, "SELECT DISTINCT trace_id FROM spans JOIN incident_traces USING (trace_id)")
    of_traces = store.rows("SELECT * FROM spans WHERE trace_id IN (SELECT trace_id FROM incident_traces) ORDER BY ALL")
    window = (
        "SELECT count(*) AS n FROM metrics JOIN incidents USING (service_name) "
        "WHERE time BETWEEN started_at - INTERVAL 1 HOUR AND ended_at + INTERVAL 5 MINUTE OR ended_at IS NULL"
    )
    top = store.rows(f"SELECT * FROM top_functions('{filled.new}')")  # noqa: S608  our own id
    points = store.row(window)["n"]
    Segments(store).move()
    removed = retention(store).run(later(days=31))

    assert (5, 1) == (removed.files, removed.profiles)  # the unrelated profile goes
    assert removed.pinned_rows > 0
    assert traces == ids(store, "SELECT DISTINCT trace_id FROM spans")
    assert of_traces == store.rows("SELECT * FROM spans ORDER BY ALL")
    assert points == store.row(window)["n"] > 0
    assert traces == ids(
        store, "SELECT DISTINCT trace_id FROM exemplars WHERE trace_id IN (SELECT trace_id FROM spans)"
    )
    assert top == store.rows(f"SELECT * FROM top_functions('{filled.new}')") != []  # noqa: S608  our own id
    assert {filled.base, filled.new} == ids(store, "SELECT profile_id FROM profiles")
    assert 2 == len(ids(store, "SELECT profile_no FROM sample"))
    assert 2 == len(ids(store, "SELECT weight_no // 64 FROM weight"))

    assert 0 == retention(store).run(later(days=31)).files  # once is enough


def test_incidents_go_with_all_that_names_them(filled: Filled):
    store = filled.store
    store.control.run(lambda cursor: cursor.execute("UPDATE incident SET ended_at = now() WHERE ended_at IS NULL"))
    Segments(store).move()
    keeper = retention(store)
    keeper.run(later(days=31))
    removed = keeper.run(later(days=401))

    assert 2 == removed.incidents
    for table in ("incident", "episode", "alert_event", "message", "finding", "report", "capture", "timeline_entry"):
        assert 0 == store.row(f"SELECT count(*) AS n FROM {table}")["n"], table  # noqa: S608  named above
    for view in ("spans", "metrics", "exemplars", "profiles", "profile_samples"):
        assert 0 == store.row(f"SELECT count(*) AS n FROM {view}")["n"], view  # noqa: S608  named above
    assert [] == store.rows("SELECT * FROM segment")
    assert [] == store.rows("SELECT * FROM trace_time")


def test_an_open_incident_never_goes(filled: Filled):
    filled.store.control.run(lambda cursor: cursor.execute("UPDATE incident SET ended_at = NULL"))
    assert 0 == retention(filled.store).run(later(days=4000)).incidents


@pytest.mark.parametrize(
    ("settings", "min_free_bytes"), [({"max_bytes": 1}, 0), ({}, 2**62)], ids=["too large", "disk nearly full"]
)
def test_without_space_the_oldest_goes_first_whatever_its_age(filled: Filled, settings, min_free_bytes):
    store = filled.store
    segments = Segments(store)
    segments.move()
    keeper = Retention(store, segments, RetentionSettings(**settings), min_free_bytes=min_free_bytes)
    removed = keeper.run()

    assert 5 == removed.files
    assert {True} == {each.pinned for each in segments.all()}
    assert ids(store, "SELECT trace_id FROM spans") <= ids(store, "SELECT trace_id FROM incident_traces")


def test_only_as_much_goes_as_has_to(filled: Filled):
    store = filled.store
    segments = Segments(store)
    segments.move()
    used = Retention(store, segments, RetentionSettings()).used_bytes()
    keeper = Retention(store, segments, RetentionSettings(max_bytes=used - 1), min_free_bytes=0)

    assert 1 == keeper.run().files
    assert 0 < len([each for each in segments.all() if not each.pinned])
    assert isinstance(keeper.run(), Removed)
