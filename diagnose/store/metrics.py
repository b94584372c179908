"""
Metric points, histograms and exemplars: pushed over OTLP or by Prometheus, or windows asked of it when an alert is new.

Rows of Prometheus have source `prometheus` and no resource; the type is `unknown` until it tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import compress
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from diagnose.model import Exemplar, Labels, utc_now
from diagnose.store.arrow import TEXT_MAP, TIME, insert_all, insert_new, registered, table_of
from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.store.received import remember_bodies
from diagnose.store.resources import insert_resources
from diagnose.store.series import PROMETHEUS, SeriesKey, SeriesKind, series_table
from diagnose.telemetry import INGESTED

QUERIES = load_queries("metrics")
COUNTS = pa.list_(pa.uint64())

POINTS = pa.schema(
    [
        ("series_id", pa.int64()),
        ("time", TIME),
        ("start_time", TIME),
        ("value", pa.float64()),
        ("stale", pa.bool_()),
    ]
)
HISTOGRAMS = pa.schema(
    [
        ("series_id", pa.int64()),
        ("start_time", TIME),
        ("time", TIME),
        ("count", pa.uint64()),
        ("sum", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("bounds", pa.list_(pa.float64())),
        ("bucket_counts", COUNTS),
        ("scale", pa.int32()),
        ("zero_count", pa.uint64()),
        ("positive_offset", pa.int32()),
        ("positive_counts", COUNTS),
        ("negative_offset", pa.int32()),
        ("negative_counts", COUNTS),
    ]
)
EXEMPLARS = pa.schema(
    [
        ("series_id", pa.int64()),
        ("metric_name", pa.string()),
        ("time", TIME),
        ("value", pa.float64()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("attributes", TEXT_MAP),
    ]
)
FAMILIES = pa.schema(
    [("name", pa.string()), ("type", pa.string()), ("unit", pa.string()), ("is_monotonic", pa.bool_())]
)

Points = Sequence[tuple[datetime, float]]


@dataclass(frozen=True)
class Family:
    """What Prometheus says about the series of one name; `type` in its own words: counter, gauge, histogram, …"""

    name: str
    type: str
    unit: str


@dataclass(frozen=True)
class MetricBatch:
    """
    The points of one request as the rows of their tables (schemas above). `series` and `resources` are all it mentions;
    those known already are not stored again. `refused` counts points that could not be kept, by reason. `families` tell
    the types of series that Prometheus pushes.
    """

    resources: pa.Table
    series: pa.Table
    points: pa.Table
    histograms: pa.Table
    exemplars: pa.Table
    refused: Mapping[str, int]
    body_id: int
    families: tuple[Family, ...] = ()

    @property
    def tables(self) -> tuple[pa.Table, ...]:
        return (self.resources, self.series, self.points, self.histograms, self.exemplars)

    @property
    def size_bytes(self) -> int:
        return sum(int(table.nbytes) for table in self.tables)


def save_metrics(store: Store, batch: MetricBatch) -> bool:
    """Returns after the commit; False when the same body was stored within the last half hour. Raises StoreBusy."""
    resources = store.known_resources.unknown(batch.resources, "resource_id")
    series = store.known_series.unknown(batch.series, "series_id")
    batch = replace(batch, resources=resources, series=series)
    stored = store.telemetry.run_together(insert_metrics, batch, size_bytes=batch.size_bytes)
    if stored:
        store.known_resources.add(resources, "resource_id")
        store.known_series.add(series, "series_id")
        INGESTED.labels(table="metric_point").inc(batch.points.num_rows)
        INGESTED.labels(table="metric_histogram").inc(batch.histograms.num_rows)
        INGESTED.labels(table="exemplar").inc(batch.exemplars.num_rows)
    return stored


def insert_metrics(cursor: duckdb.DuckDBPyConnection, batches: Sequence[MetricBatch]) -> list[bool]:
    """All requests that wait, with as few statements as one."""
    is_new = remember_bodies(cursor, [batch.body_id for batch in batches], utc_now())
    new = list(compress(batches, is_new))
    if new:
        insert_resources(cursor, pa.concat_tables([batch.resources for batch in new]))
        insert_new(cursor, "metric_series", pa.concat_tables([batch.series for batch in new]), key="series_id")
        insert_all(cursor, "live_metric_point", pa.concat_tables([batch.points for batch in new]))
        insert_all(cursor, "live_metric_histogram", pa.concat_tables([batch.histograms for batch in new]))
        exemplars = pa.concat_tables([batch.exemplars for batch in new])
        _insert_new(cursor, exemplars, "insert_new_exemplars")  # senders repeat the latest until there is a newer
        _describe(cursor, [family for batch in new for family in batch.families])
    return is_new


def _describe(cursor: duckdb.DuckDBPyConnection, families: Sequence[Family]) -> None:
    """Prometheus tells the types of all it sends once a minute; only series that have none yet change."""
    if families:
        rows = [(each.name, each.type, each.unit, each.type == "counter") for each in families]
        with registered(cursor, incoming=table_of(rows, FAMILIES)):
            cursor.execute(QUERIES["describe_series"])


def save_series(
    store: Store,
    name: str,
    unit: str,
    service: str,
    series: Iterable[tuple[Labels, Points]],
    *,
    source: str = PROMETHEUS,
) -> None:
    """
    Windows of one metric as Prometheus answered them: (labels, (time, value) pairs).

    Points that are there already are not stored again, so windows may overlap. Raises StoreBusy.
    """
    now = utc_now()
    keys: dict[int, SeriesKey] = {}
    rows: list[tuple[Any, ...]] = []
    for as_told, points in series:
        labels = store.redactor.labels(as_told)
        key = SeriesKey(SeriesKind(name, "unknown", unit, service, source=source), labels)
        series_id = key.series_id()
        keys[series_id] = key
        rows += [(series_id, at, None, value, False) for at, value in dict(points).items()]
    if rows:
        _insert_window(store, series_table(keys, now), table_of(rows, POINTS), "insert_new_points", "metric_point")


def save_exemplars(store: Store, exemplars: Sequence[Exemplar], *, source: str = PROMETHEUS, service: str = "") -> None:
    """
    Exemplars as Prometheus answered them; `labels` are those of the series.

    Those that are there already are not stored again. Without *service* the label `service_name`, else `job`, names it.
    Raises StoreBusy.
    """
    keys: dict[int, SeriesKey] = {}
    rows: dict[tuple[Any, ...], None] = {}
    for each in exemplars:
        named = service or each.labels.get("service_name") or each.labels.get("job", "").rsplit("/", 1)[-1]
        labels = store.redactor.labels(each.labels)
        key = SeriesKey(SeriesKind(each.metric_name, "unknown", "", named, source=source), labels)
        series_id = key.series_id()
        keys[series_id] = key
        ids = (each.trace_id.lower() or None, each.span_id.lower() or None)
        rows[(series_id, each.metric_name, each.at, each.value, *ids, ())] = None
    if rows:
        table = table_of(list(rows), EXEMPLARS)
        _insert_window(store, series_table(keys, utc_now()), table, "insert_new_exemplars", "exemplar")


def _insert_window(store: Store, series: pa.Table, rows: pa.Table, query: str, table: str) -> None:
    def insert(cursor: duckdb.DuckDBPyConnection) -> None:
        insert_new(cursor, "metric_series", series, key="series_id")
        _insert_new(cursor, rows, query)

    store.telemetry.run(insert, size_bytes=int(series.nbytes + rows.nbytes))
    INGESTED.labels(table=table).inc(rows.num_rows)


def _insert_new(cursor: duckdb.DuckDBPyConnection, rows: pa.Table, query: str) -> None:
    """Those of *rows* that are not there yet; only the time they cover is looked through."""
    if rows.num_rows:
        window = pc.min_max(rows["time"]).as_py()
        with registered(cursor, incoming=rows):
            cursor.execute(QUERIES[query], {"since": window["min"], "until": window["max"]})


def series_points(
    store: Store, name: str, service: str, since: datetime, until: datetime
) -> list[tuple[dict[str, str], list[tuple[datetime, float]]]]:
    """
    The points of every series of one metric in [since, until], as (attributes, (time, value) pairs oldest first).

    Stale markers are left out; series are in the order of their attributes. Several instances of a service are several
    series, even when their attributes are the same.
    """
    params = {"name": name, "service": service, "since": since, "until": until}
    rows = store.rows(QUERIES["series_points"], params)
    return [(row["attributes"], list(zip(row["times"], row["points"], strict=True))) for row in rows]
