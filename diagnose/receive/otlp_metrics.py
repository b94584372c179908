"""
ExportMetricsServiceRequest → the columns of the tables `metric_series`, `metric_point`, `metric_histogram`, `exemplar`.

A summary becomes plain points as Prometheus has them: `name{quantile="0.99"}`, `name_count`, `name_sum`. Refused: a
point without time or value, and a histogram whose buckets do not fit its bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import isnan
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)

from diagnose.model import utc_now
from diagnose.receive.otlp_values import SPAN_ID_BYTES, TRACE_ID_BYTES, AttributeReader, id_mistake, micros
from diagnose.redact import Redactor
from diagnose.store.arrow import MapColumn, table_of
from diagnose.store.metrics import EXEMPLARS, HISTOGRAMS, POINTS, MetricBatch
from diagnose.store.resources import Resource, resource_of, resource_table
from diagnose.store.series import SeriesKey, SeriesKind, series_table

NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
TEMPORALITIES: dict[int, str] = {
    number: name.removeprefix("AGGREGATION_TEMPORALITY_").lower().replace("unspecified", "")
    for name, number in AggregationTemporality.items()
}
Texts = Mapping[str, str | None]


def read_metrics(request: ExportMetricsServiceRequest, redactor: Redactor, body_id: int) -> MetricBatch:
    reader = _MetricReader(AttributeReader(redactor))
    for of_resource in request.resource_metrics:
        reader.resource = resource_of(reader.attributes_of.read(of_resource.resource.attributes))
        for of_scope in of_resource.scope_metrics:
            reader.scope_name = of_scope.scope.name
            for metric in of_scope.metrics:
                reader.add(metric)
    return reader.batch(body_id)


class _MetricReader:
    """Collects the rows of one request; `resource` and `scope_name` are those being read."""

    def __init__(self, attributes_of: AttributeReader) -> None:
        self.attributes_of = attributes_of
        self.resource = resource_of({})
        self.scope_name = ""
        self._refused: Counter[str] = Counter()
        self._resources: dict[int, Resource] = {}
        self._series: dict[int, SeriesKey] = {}
        self._points: list[tuple[Any, ...]] = []
        self._histograms: list[tuple[Any, ...]] = []
        self._exemplars: list[tuple[Any, ...]] = []
        self._exemplar_attributes = MapColumn()

    def add(self, metric: Metric) -> None:
        match metric.WhichOneof("data"):
            case "gauge":
                self._numbers(metric, "gauge", metric.gauge.data_points)
            case "sum":
                self._numbers(metric, "sum", metric.sum.data_points)
            case "histogram":
                for histogram in metric.histogram.data_points:
                    self._histogram(metric, histogram)
            case "exponential_histogram":
                for exponential in metric.exponential_histogram.data_points:
                    self._exponential(metric, exponential)
            case "summary":
                for summary in metric.summary.data_points:
                    self._summary(metric, summary)
            case _:
                self._refused["a metric without data"] += 1

    def batch(self, body_id: int) -> MetricBatch:
        now = utc_now()
        return MetricBatch(
            resources=resource_table(self._resources.values(), now),
            series=series_table(self._series, now),
            points=table_of(self._points, POINTS),
            histograms=table_of(self._histograms, HISTOGRAMS),
            exemplars=table_of(self._exemplars, EXEMPLARS, self._exemplar_attributes.array()),
            refused=self._refused,
            body_id=body_id,
        )

    def _numbers(self, metric: Metric, kind: str, points: Iterable[NumberDataPoint]) -> None:
        for point in points:
            stale = bool(point.flags & NO_VALUE)
            value = None if stale else _number(point)
            if value is None and not stale:
                self._refused["a point without a value"] += 1
            elif self._has_time(point):
                series_id = self._series_of(metric, kind, self.attributes_of.read(point.attributes))
                self._points.append((series_id, micros(point.time_unix_nano), _start(point), value, stale))
                self._add_exemplars(series_id, metric, point.exemplars, point.time_unix_nano)

    def _histogram(self, metric: Metric, point: HistogramDataPoint) -> None:
        bounds, counts = list(point.explicit_bounds), list(point.bucket_counts)
        if (counts or bounds) and len(counts) != len(bounds) + 1:
            self._refused[f"a histogram of {len(counts)} buckets for {len(bounds)} bounds"] += 1
        elif any(not low < high for low, high in pairwise(bounds)):
            self._refused["a histogram whose bounds do not rise"] += 1
        elif self._has_time(point) and not point.flags & NO_VALUE:
            exponential = (None, None, None, None, None, None)
            self._add_histogram(metric, "histogram", point, (bounds, counts, *exponential))

    def _exponential(self, metric: Metric, point: ExponentialHistogramDataPoint) -> None:
        if self._has_time(point) and not point.flags & NO_VALUE:
            above, below = point.positive, point.negative
            buckets = (above.offset, list(above.bucket_counts), below.offset, list(below.bucket_counts))
            shape = (None, None, point.scale, point.zero_count, *buckets)
            self._add_histogram(metric, "exponential_histogram", point, shape)

    def _add_histogram(
        self,
        metric: Metric,
        kind: str,
        point: HistogramDataPoint | ExponentialHistogramDataPoint,
        shape: tuple[Any, ...],
    ) -> None:
        series_id = self._series_of(metric, kind, self.attributes_of.read(point.attributes))
        optional = tuple(getattr(point, name) if point.HasField(name) else None for name in ("sum", "min", "max"))
        times = (_start(point), micros(point.time_unix_nano))
        self._histograms.append((series_id, *times, point.count, *optional, *shape))
        self._add_exemplars(series_id, metric, point.exemplars, point.time_unix_nano)

    def _summary(self, metric: Metric, point: SummaryDataPoint) -> None:
        if not self._has_time(point):
            return
        attributes = self.attributes_of.read(point.attributes)
        stale = bool(point.flags & NO_VALUE)
        values: list[tuple[str, Texts, float]] = [
            (metric.name, {**attributes, "quantile": repr(each.quantile)}, each.value) for each in point.quantile_values
        ]
        values += [
            (f"{metric.name}_count", attributes, float(point.count)),
            (f"{metric.name}_sum", attributes, point.sum),
        ]
        for name, texts, value in values:
            series_id = self._series_of(metric, "summary", texts, name=name)
            self._points.append(
                (series_id, micros(point.time_unix_nano), _start(point), None if stale else value, stale)
            )

    def _has_time(self, point: Any) -> bool:
        if micros(point.time_unix_nano) is None:
            self._refused["a point without time_unix_nano"] += 1
            return False
        return True

    def _series_of(self, metric: Metric, kind: str, attributes: Texts, *, name: str = "") -> int:
        data = getattr(metric, metric.WhichOneof("data") or "gauge")
        described = SeriesKind(
            name=name or metric.name,
            type=kind,
            unit=metric.unit,
            service_name=self.resource.service_name,
            temporality=TEMPORALITIES.get(getattr(data, "aggregation_temporality", 0), ""),
            is_monotonic=getattr(data, "is_monotonic", False),
            resource_id=self.resource.resource_id,
            scope_name=self.scope_name,
        )
        key = SeriesKey(described, attributes)
        series_id = key.series_id()
        self._series[series_id] = key
        self._resources[self.resource.resource_id] = self.resource
        return series_id

    def _add_exemplars(self, series_id: int, metric: Metric, exemplars: Iterable[Exemplar], point_time: int) -> None:
        for each in exemplars:
            value = _number(each)
            if value is None or isnan(value):
                continue
            usable_trace = id_mistake("trace_id", each.trace_id, TRACE_ID_BYTES) is None
            usable_span = id_mistake("span_id", each.span_id, SPAN_ID_BYTES) is None
            at = micros(each.time_unix_nano) or micros(point_time)
            trace_id = each.trace_id.hex() if usable_trace else None
            span_id = each.span_id.hex() if usable_span else None
            self._exemplars.append((series_id, metric.name, at, value, trace_id, span_id))
            self._exemplar_attributes.add(self.attributes_of.read(each.filtered_attributes))


def _number(point: NumberDataPoint | Exemplar) -> float | None:
    match point.WhichOneof("value"):
        case "as_double":
            return point.as_double
        case "as_int":
            return float(point.as_int)
        case _:
            return None


def _start(point: Any) -> int | None:
    return micros(point.start_time_unix_nano)
