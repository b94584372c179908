"""
ExportMetricsServiceRequest → the columns of the tables of metrics, without a Python object per point.

The same rows and refusals as `otlp_metrics`, which does it with protobuf's objects and says what is refused; only their
order may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from diagnose.model import utc_now
from diagnose.receive.arrays import (
    Bools,
    Ints,
    any_set,
    hex_of,
    lengths_of,
    micros_of,
    numbers,
    offsets_of,
    parents_of,
)
from diagnose.receive.judge import Judge
from diagnose.receive.origins import Origins, scope_names
from diagnose.receive.otlp_metrics import NO_VALUE, TEMPORALITIES
from diagnose.receive.otlp_values import SPAN_ID_BYTES, TRACE_ID_BYTES
from diagnose.receive.pairs import Pairs, pairs_of, reprs
from diagnose.receive.series_columns import SeriesColumns
from diagnose.receive.wire import UnusualError, WireReader
from diagnose.redact import Redactor
from diagnose.store.metrics import EXEMPLARS, HISTOGRAMS, POINTS, MetricBatch
from diagnose.store.resources import resource_table
from diagnose.store.series import SeriesKind

REQUESTS = WireReader(ExportMetricsServiceRequest.DESCRIPTOR)
DATA = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
SHAPE = HISTOGRAMS.names[HISTOGRAMS.names.index("bounds") :]


def read_metric_columns(body: bytes, redactor: Redactor, body_id: int) -> MetricBatch:
    """Raises UnusualError when the body is for `otlp_metrics`."""
    of_resource = REQUESTS.read(body).column("resource_metrics").values
    of_scope = of_resource.field("scope_metrics")
    lists = of_scope.values.field("metrics")
    scopes = parents_of(lists)
    origins = Origins.of(of_resource.field("resource"), parents_of(of_scope)[scopes], redactor)
    reader = _Reader(lists.values, origins, scope_names(of_scope.values.field("scope"), scopes).to_pylist(), redactor)
    return reader.batch(body_id) if len(lists.values) else _Reader.nothing(body_id)


@dataclass(frozen=True)
class _Points:
    """The points of one kind of data that are kept: the metric, series and time of each."""

    entries: pa.StructArray
    metric_of: Ints
    pairs: Pairs
    series_id: pa.Array

    @property
    def times(self) -> pa.Array:
        return micros_of(self.entries.field("time_unix_nano"))

    @property
    def start_times(self) -> pa.Array:
        return micros_of(self.entries.field("start_time_unix_nano"))


class _Reader:
    """Collects the tables of one request."""

    def __init__(self, metrics: pa.StructArray, origins: Origins, scopes: list[str], redactor: Redactor) -> None:
        self._metrics = metrics
        self._origins = origins
        self._scopes = scopes
        self._redactor = redactor
        self._refused: Counter[str] = Counter()
        self._series = SeriesColumns()
        self._points = [POINTS.empty_table()]
        self._histograms = [HISTOGRAMS.empty_table()]
        self._exemplars = [EXEMPLARS.empty_table()]

    @staticmethod
    def nothing(body_id: int) -> MetricBatch:
        series = SeriesColumns().table(utc_now())
        tables = (POINTS.empty_table(), HISTOGRAMS.empty_table(), EXEMPLARS.empty_table())
        return MetricBatch(resource_table([], utc_now()), series, *tables, refused={}, body_id=body_id)

    def batch(self, body_id: int) -> MetricBatch:
        now = utc_now()
        self._check_data()
        self._numbers("gauge")
        self._numbers("sum")
        self._explicit()
        self._exponential()
        self._summaries()
        series = self._series.table(now)
        used = set(series["resource_id"].to_pylist())
        resources = [each for each in self._origins.resources if each.resource_id in used]
        return MetricBatch(
            resources=resource_table(resources, now),
            series=series,
            points=pa.concat_tables(self._points),
            histograms=pa.concat_tables(self._histograms),
            exemplars=pa.concat_tables(self._exemplars),
            refused=self._refused,
            body_id=body_id,
        )

    def _check_data(self) -> None:
        """Each metric has one kind of data; one that has several is for protobuf, which keeps the last."""
        kinds = np.sum([self._metrics.field(kind).is_valid().to_numpy(zero_copy_only=False) for kind in DATA], axis=0)
        if np.any(kinds > 1):
            raise UnusualError("a metric of two kinds")
        if without := int(np.count_nonzero(kinds == 0)):
            self._refused["a metric without data"] += without

    def _of_kind(self, data: str) -> tuple[pa.StructArray, Ints, Judge]:
        """All points, the metric of each, and a judge that knows of those without a time."""
        lists = self._metrics.field(data).field("data_points")
        return lists.values, parents_of(lists), Judge(len(lists.values))

    def _kept(self, data: str, entries: pa.StructArray, metric_of: Ints, judge: Judge) -> _Points | None:
        """What is left when those without a time are refused too."""
        self._refused.update(judge.refused)
        if not judge.fine.all():
            entries, metric_of = entries.filter(pa.array(judge.fine)), metric_of[judge.fine]
        if not len(entries):
            return None
        pairs = pairs_of(entries.field("attributes"), self._redactor)
        return _Points(entries, metric_of, pairs, self._series_of(data, metric_of, pairs))

    def _series_of(self, data: str, metric_of: Ints, pairs: Pairs, suffix: str = "") -> pa.Array:
        used, positions = np.unique(metric_of, return_inverse=True)
        return self._series.add(self._kinds(data, used, suffix), positions, pairs)

    def _kinds(self, data: str, used: Ints, suffix: str) -> list[SeriesKind]:
        at = pa.array(used)
        of_data = self._metrics.field(data)
        fields = {field.name for field in of_data.type}
        temporality, monotonic = (
            of_data.field(name).take(at).to_pylist() if name in fields else [0] * len(used)
            for name in ("aggregation_temporality", "is_monotonic")
        )
        names, units = (self._metrics.field(name).take(at).to_pylist() for name in ("name", "unit"))
        resources = [self._origins.resources[self._origins.of_row[number]] for number in used]
        columns = (names, units, temporality, monotonic)
        return [
            SeriesKind(
                name=name + suffix,
                type=data,
                unit=unit,
                service_name=resource.service_name,
                temporality=TEMPORALITIES.get(since, ""),
                is_monotonic=bool(grows),
                resource_id=resource.resource_id,
                scope_name=self._scopes[number],
            )
            for name, unit, since, grows, resource, number in zip(*columns, resources, used, strict=True)
        ]

    def _numbers(self, data: str) -> None:
        entries, metric_of, judge = self._of_kind(data)
        if not len(entries):
            return
        known = _value(entries).is_valid().to_numpy(zero_copy_only=False)
        judge.refuse(~known & ~_without_value(entries), "a point without a value")
        _refuse_timeless(entries, judge)
        points = self._kept(data, entries, metric_of, judge)
        if points is not None:
            stale = pa.array(_without_value(points.entries))
            self._add_points(points, points.series_id, pc.if_else(stale, None, _value(points.entries)), stale)
            self._add_exemplars(points)

    def _add_points(self, points: _Points, series_id: pa.Array, values: pa.Array, stale: pa.Array) -> None:
        columns = [series_id, points.times, points.start_times, values, stale]
        self._points.append(pa.Table.from_arrays(columns, schema=POINTS))

    def _explicit(self) -> None:
        entries, metric_of, judge = self._of_kind("histogram")
        if not len(entries):
            return
        _refuse_shapes(entries, judge)
        _refuse_timeless(entries, judge)
        judge.fine &= ~_without_value(entries)
        points = self._kept("histogram", entries, metric_of, judge)
        if points is not None:
            shape = {
                "bounds": _list(points.entries.field("explicit_bounds")),
                "bucket_counts": _list(points.entries.field("bucket_counts")),
            }
            self._add_histograms(points, shape)

    def _exponential(self) -> None:
        entries, metric_of, judge = self._of_kind("exponential_histogram")
        if not len(entries):
            return
        _refuse_timeless(entries, judge)
        judge.fine &= ~_without_value(entries)
        points = self._kept("exponential_histogram", entries, metric_of, judge)
        if points is not None:
            shape = {"scale": points.entries.field("scale"), "zero_count": points.entries.field("zero_count")}
            for side in ("positive", "negative"):
                shape[f"{side}_offset"] = pc.struct_field(points.entries, [side, "offset"]).fill_null(0)
                shape[f"{side}_counts"] = _list(points.entries.field(side).field("bucket_counts"))
            self._add_histograms(points, shape)

    def _add_histograms(self, points: _Points, shape: dict[str, pa.Array]) -> None:
        entries = points.entries
        columns = [points.series_id, points.start_times, points.times]
        columns += [entries.field(name) for name in ("count", "sum", "min", "max")]
        columns += [shape.get(name, pa.nulls(len(entries), HISTOGRAMS.field(name).type)) for name in SHAPE]
        self._histograms.append(pa.Table.from_arrays(columns, schema=HISTOGRAMS))
        self._add_exemplars(points)

    def _summaries(self) -> None:
        """As Prometheus has them: a series per quantile, `_count` and `_sum`."""
        entries, metric_of, judge = self._of_kind("summary")
        if not len(entries):
            return
        _refuse_timeless(entries, judge)
        points = self._kept("summary", entries, metric_of, judge)
        if points is None:
            return
        self._series.forget_last()  # a summary has no series of its own
        stale = pa.array(_without_value(points.entries))
        for suffix in ("count", "sum"):
            values = points.entries.field(suffix).cast(pa.float64(), safe=False)
            series_id = self._series_of("summary", points.metric_of, points.pairs, f"_{suffix}")
            self._add_points(points, series_id, pc.if_else(stale, None, values), stale)
        self._quantiles(points, stale)

    def _quantiles(self, points: _Points, stale: pa.Array) -> None:
        lists = points.entries.field("quantile_values")
        quantiles, rows = lists.values, parents_of(lists)
        if not len(quantiles):
            return
        at = pa.array(rows)
        pairs = points.pairs.for_lists(rows, "quantile", reprs(quantiles.field("quantile")))
        series_id = self._series_of("summary", points.metric_of[rows], pairs)
        of_row = _Points(points.entries.take(at), points.metric_of[rows], pairs, series_id)
        self._add_points(of_row, series_id, pc.if_else(stale.take(at), None, quantiles.field("value")), stale.take(at))

    def _add_exemplars(self, points: _Points) -> None:
        lists = points.entries.field("exemplars")
        examples, rows = lists.values, parents_of(lists)
        if not len(examples):
            return
        values = _value(examples)
        usable = pc.fill_null(pc.invert(pc.is_nan(values)), fill_value=False)
        if not pc.all(usable).as_py():
            rows = rows[usable.to_numpy(zero_copy_only=False)]
            examples, values = examples.filter(usable), values.filter(usable)
        at = pa.array(rows)
        names = self._metrics.field("name").take(pa.array(points.metric_of[rows]))
        columns = [
            points.series_id.take(at),
            names,
            pc.coalesce(micros_of(examples.field("time_unix_nano")), points.times.take(at)),
            values,
            _id(examples.field("trace_id"), TRACE_ID_BYTES),
            _id(examples.field("span_id"), SPAN_ID_BYTES),
            pairs_of(examples.field("filtered_attributes"), self._redactor).maps(),
        ]
        self._exemplars.append(pa.Table.from_arrays(columns, schema=EXEMPLARS))


def _value(entries: pa.StructArray) -> pa.Array:
    """Of a number or an exemplar, as a double; null when it has none. Raises UnusualError when it has two."""
    doubles, integers = entries.field("as_double"), entries.field("as_int")
    values = pc.coalesce(doubles, integers.cast(pa.float64(), safe=False))
    if doubles.null_count + integers.null_count - len(values) < values.null_count:
        raise UnusualError("a number of two kinds")
    return values


def _without_value(entries: pa.StructArray) -> Bools:
    flagged: Bools = (numbers(entries.field("flags"), np.uint32) & NO_VALUE) != 0
    return flagged


def _refuse_timeless(entries: pa.StructArray, judge: Judge) -> None:
    judge.refuse(numbers(entries.field("time_unix_nano"), np.uint64) < 1000, "a point without time_unix_nano")


def _refuse_shapes(entries: pa.StructArray, judge: Judge) -> None:
    bounds, counts = (lengths_of(entries.field(name)) for name in ("explicit_bounds", "bucket_counts"))
    wrong = ((bounds > 0) | (counts > 0)) & (counts != bounds + 1)
    shapes: Sequence[tuple[int, int]] = sorted(set(zip(counts[wrong].tolist(), bounds[wrong].tolist(), strict=True)))
    for count, bound in shapes:
        same = wrong & (counts == count) & (bounds == bound)
        judge.refuse(same, f"a histogram of {count} buckets for {bound} bounds")
    lists = entries.field("explicit_bounds")
    values, rows = lists.values.to_numpy(), parents_of(lists)
    falling = ~(values[:-1] < values[1:]) & (rows[:-1] == rows[1:])
    wrong = np.zeros(len(entries), np.bool_)
    wrong[rows[1:][falling]] = True
    judge.refuse(wrong, "a histogram whose bounds do not rise")


def _list(lists: pa.ListArray) -> pa.ListArray:
    """A missing list is an empty one."""
    return pa.ListArray.from_arrays(pa.array(offsets_of(lists)), lists.values)


def _id(ids: pa.Array, size: int) -> pa.Array:
    """As hexadecimal digits; null when it is not usable."""
    return pc.if_else(pa.array((lengths_of(ids) == size) & any_set(ids)), hex_of(ids), None)
