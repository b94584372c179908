"""
Prometheus remote write 1.0 → the columns of the tables of metrics.

A series is the same as in windows asked of Prometheus: its labels without the name, type `unknown` until metadata says
more. A stale marker is a point without a value. Exemplars come in series of their own and keep the labels that are no
ids. Refused, one by one: series without a name, samples without a usable time, native histograms. Source: the
specification "Prometheus Remote-Write 1.0".
"""

from __future__ import annotations

import struct
from collections import Counter
from contextlib import suppress
from typing import Any

from cramjam import DecompressionError, snappy
from google.protobuf.message import DecodeError as ProtobufError

from diagnose.errors import DecodeError
from diagnose.model import utc_now
from diagnose.prometheus import span_id_of, trace_id_of
from diagnose.receive.otlp import Decoder
from diagnose.receive.proto.remote_pb2 import Exemplar, MetricMetadata, Sample, TimeSeries, WriteRequest
from diagnose.receive.turns import TURN
from diagnose.receive.wire import UnusualError
from diagnose.receive.write_columns import MAX_UNIX_MS, STALE, families_of, filtered, read_write_columns, service_of
from diagnose.redact import KEEP_ALL, Redactor
from diagnose.store.arrow import MapColumn, table_of
from diagnose.store.metrics import EXEMPLARS, HISTOGRAMS, POINTS, MetricBatch
from diagnose.store.received import body_id
from diagnose.store.resources import resource_table
from diagnose.store.series import PROMETHEUS, SeriesKey, SeriesKind, series_table

CONTENT_TYPE = "application/x-protobuf"
MESSAGE = "prometheus.WriteRequest"


def mistake_in_headers(content_type: str, encoding: str, version: str) -> str | None:
    """Why a request is none of remote write 1.0; what it says is for who set up the sender."""
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    message = next(
        (value.strip('"') for name, _, value in (each.partition("=") for each in parameters) if name == "proto"),
        MESSAGE,
    )
    if message != MESSAGE or version.startswith("2."):
        return f"remote write 2.0 is not supported: set `protobuf_message: {MESSAGE}` for this remote_write"
    if kind.lower() != CONTENT_TYPE:
        return f"{content_type!r} is not {CONTENT_TYPE}"
    return None if encoding.lower() == "snappy" else f"Content-Encoding {encoding!r} is not snappy"


def inflated_size(body: bytes) -> int:
    """What *body* says it will be, before anything is inflated. Raises DecodeError when it is no snappy."""
    try:
        return int(snappy.decompress_raw_len(body))
    except DecompressionError as err:
        raise DecodeError(f"the body is no snappy block: {err}", field="Content-Encoding") from err


def decode_write(body: bytes, redact: Redactor | None = None, decoder: Decoder = "columns") -> MetricBatch:
    """The samples of a WriteRequest in its snappy block. Raises DecodeError."""
    try:
        message = bytes(snappy.decompress_raw(body))
    except DecompressionError as err:
        raise DecodeError(f"the body is no snappy block: {err}", field="Content-Encoding") from err
    redactor, number = redact or KEEP_ALL, body_id(body)
    if decoder == "columns":
        with suppress(UnusualError), TURN:
            return read_write_columns(message, redactor, number)
    return _read_write(message, redactor, number)


def _read_write(message: bytes, redactor: Redactor, number: int) -> MetricBatch:
    try:
        request = WriteRequest.FromString(message)
    except ProtobufError as err:
        raise DecodeError(f"not a remote-write request: {err}", field="body") from err
    reader = _Reader(redactor)
    for series in request.timeseries:
        reader.add(series)
    return reader.batch(number, families_of([_plain(each) for each in request.metadata]))


def _plain(metadata: MetricMetadata) -> dict[str, Any]:
    return {"type": metadata.type, "metric_family_name": metadata.metric_family_name, "unit": metadata.unit}


class _Reader:
    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._refused: Counter[str] = Counter()
        self._series: dict[int, SeriesKey] = {}
        self._points: list[tuple[Any, ...]] = []
        self._exemplars: list[tuple[Any, ...]] = []
        self._exemplar_labels = MapColumn()

    def add(self, series: TimeSeries) -> None:
        labels = self._redactor.labels({label.name: label.value for label in series.labels})
        name = labels.pop("__name__", "")
        if not name:
            self._refused["a series without __name__"] += 1
            return
        if series.histograms:
            self._refused["a native histogram"] += len(series.histograms)
        kind = SeriesKind(name, "unknown", "", service_of(labels), source=PROMETHEUS)
        key = SeriesKey(kind, labels)
        series_id = key.series_id()
        self._series[series_id] = key
        for sample in series.samples:
            if self._has_time(sample):
                stale = struct.pack("<d", sample.value) == STALE
                at = sample.timestamp * 1000
                self._points.append((series_id, at, None, None if stale else sample.value, stale))
        for exemplar in series.exemplars:
            if self._has_time(exemplar):
                self._add_exemplar(series_id, name, exemplar)

    def _add_exemplar(self, series_id: int, name: str, exemplar: Exemplar) -> None:
        labels = self._redactor.labels({label.name: label.value for label in exemplar.labels})
        ids = (trace_id_of(labels) or None, span_id_of(labels) or None)
        self._exemplars.append((series_id, name, exemplar.timestamp * 1000, exemplar.value, *ids))
        self._exemplar_labels.add(filtered(labels))

    def _has_time(self, entry: Sample | Exemplar) -> bool:
        if 0 < entry.timestamp <= MAX_UNIX_MS:
            return True
        self._refused["a sample whose time is not between 1970 and 9999"] += 1
        return False

    def batch(self, number: int, families: Any) -> MetricBatch:
        now = utc_now()
        return MetricBatch(
            resources=resource_table([], now),
            series=series_table(self._series, now),
            points=table_of(self._points, POINTS),
            histograms=HISTOGRAMS.empty_table(),
            exemplars=table_of(self._exemplars, EXEMPLARS, self._exemplar_labels.array()),
            refused=self._refused,
            body_id=number,
            families=families,
        )
