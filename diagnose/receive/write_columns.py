"""WriteRequest → the columns of the tables of metrics without a Python object per sample; rows as in `remote_write`."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnose.model import utc_now
from diagnose.prometheus import is_id_label, span_id_of, trace_id_of
from diagnose.receive.arrays import Ints, numbers, offsets_of, parents_of
from diagnose.receive.judge import Judge
from diagnose.receive.pairs import Pairs, text_pairs
from diagnose.receive.proto.remote_pb2 import MetricMetadata, WriteRequest
from diagnose.receive.series_columns import SeriesColumns
from diagnose.receive.wire import WireReader
from diagnose.redact import Redactor
from diagnose.store.arrow import TEXT_MAP, TIME
from diagnose.store.metrics import EXEMPLARS, HISTOGRAMS, POINTS, Family, MetricBatch
from diagnose.store.resources import resource_table
from diagnose.store.series import PROMETHEUS, SeriesKind

REQUESTS = WireReader(WriteRequest.DESCRIPTOR)
STALE = struct.pack("<Q", 0x7FF0000000000002)  # the NaN by which Prometheus ends a series
MAX_UNIX_MS = 253_402_300_799_999  # the end of the year 9999
WITHOUT_TIME = "a sample whose time is not between 1970 and 9999"
SUFFIXES = {
    "counter": ("", "_total"),
    "histogram": ("_bucket", "_count", "_sum"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "summary": ("", "_count", "_sum"),
    "info": ("", "_info"),
}


def read_write_columns(message: bytes, redactor: Redactor, body_id: int) -> MetricBatch:
    """Raises UnusualError when the body is for `remote_write`."""
    request = REQUESTS.read(message)
    families = families_of(request.column("metadata").values.to_pylist())
    reader = _Reader(redactor)
    series = request.column("timeseries").values
    if len(series):
        reader.read(series)
    now = utc_now()
    return MetricBatch(
        resources=resource_table([], now),
        series=reader.series.table(now),
        points=reader.points,
        histograms=HISTOGRAMS.empty_table(),
        exemplars=reader.exemplars,
        refused=reader.refused,
        body_id=body_id,
        families=families,
    )


class _Reader:
    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.refused: dict[str, int] = {}
        self.series = SeriesColumns()
        self.points = POINTS.empty_table()
        self.exemplars = EXEMPLARS.empty_table()

    def read(self, series: pa.StructArray) -> None:
        pairs = self._labels(series.field("labels"))
        names = pairs.column("__name__", len(series)).fill_null("")
        judge = Judge(len(series))
        judge.refuse(pc.equal(names, "").to_numpy(zero_copy_only=False), "a series without __name__")
        if judge.refused:
            self._count(judge)
            series = series.filter(pa.array(judge.fine))
            if len(series):
                self.read(series)
            return
        if histograms := len(series.field("histograms").values):
            self._add("a native histogram", histograms)
        labels = _without_name(pairs)
        kinds, kind_of = _kinds(names, _services(labels, len(series)))
        ids = self.series.add(kinds, kind_of, labels)
        self._samples(series.field("samples"), ids)
        self._exemplars(series.field("exemplars"), ids, names)

    def _labels(self, lists: pa.ListArray) -> Pairs:
        entries = lists.values
        return text_pairs(offsets_of(lists), entries.field("name"), entries.field("value"), self._redactor)

    def _count(self, judge: Judge) -> None:
        for reason, count in judge.refused.items():
            self._add(reason, count)

    def _add(self, reason: str, count: int) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + count

    def _timely(self, entries: pa.StructArray, rows: Ints) -> tuple[pa.StructArray, Ints]:
        times = numbers(entries.field("timestamp"), np.int64)
        judge = Judge(len(entries))
        judge.refuse((times <= 0) | (times > MAX_UNIX_MS), WITHOUT_TIME)
        if not judge.refused:
            return entries, rows
        self._count(judge)
        return entries.filter(pa.array(judge.fine)), rows[judge.fine]

    def _samples(self, lists: pa.ListArray, ids: pa.Array) -> None:
        samples, rows = self._timely(lists.values, parents_of(lists))
        if not len(samples):
            return
        values = samples.field("value")
        [marker] = np.frombuffer(STALE, np.uint64)
        stale = pa.array(numbers(values, np.uint64) == marker)
        columns = [
            ids.take(pa.array(rows)),
            _times(samples),
            pa.nulls(len(samples), TIME),
            pc.if_else(stale, None, values),
            stale,
        ]
        self.points = pa.Table.from_arrays(columns, schema=POINTS)

    def _exemplars(self, lists: pa.ListArray, ids: pa.Array, names: pa.Array) -> None:
        """They are few: each series has one at a time."""
        exemplars, rows = self._timely(lists.values, parents_of(lists))
        if not len(exemplars):
            return
        labels = [_texts(each) for each in self._labels(exemplars.field("labels")).dictionaries()]
        columns = [
            ids.take(pa.array(rows)),
            names.take(pa.array(rows)),
            _times(exemplars),
            exemplars.field("value"),
            pa.array([trace_id_of(each) or None for each in labels], pa.string()),
            pa.array([span_id_of(each) or None for each in labels], pa.string()),
            pa.array([list(filtered(each).items()) for each in labels], TEXT_MAP),
        ]
        self.exemplars = pa.Table.from_arrays(columns, schema=EXEMPLARS)


def _times(entries: pa.StructArray) -> pa.Array:
    return pa.array(numbers(entries.field("timestamp"), np.int64) * 1000).cast(TIME)


def _without_name(pairs: Pairs) -> Pairs:
    return pairs.kept(np.flatnonzero(pairs.codes != pairs.names.index("__name__")))


def _services(labels: Pairs, count: int) -> pa.Array:
    """As `service_of`, for each list."""
    jobs = pc.replace_substring_regex(labels.column("job", count).fill_null(""), "^(?s:.*)/", "")
    given = labels.column("service_name", count).fill_null("")
    return pc.if_else(pc.equal(given, ""), jobs, given)


def service_of(labels: Mapping[str, str]) -> str:
    """Label service_name, else the job after its last slash."""
    return labels.get("service_name") or labels.get("job", "").rsplit("/", 1)[-1]


def _kinds(names: pa.Array, services: pa.Array) -> tuple[list[SeriesKind], Ints]:
    """The distinct kinds, and that of each row."""
    first, second = names.dictionary_encode(), services.dictionary_encode()
    width = len(second.dictionary)
    codes = first.indices.to_numpy().astype(np.int64) * width + second.indices.to_numpy()
    distinct, kind_of = np.unique(codes, return_inverse=True)
    texts, owners = first.dictionary.to_pylist(), second.dictionary.to_pylist()
    kinds = [
        SeriesKind(texts[code // width], "unknown", "", owners[code % width], source=PROMETHEUS)
        for code in distinct.tolist()
    ]
    return kinds, kind_of


def _texts(labels: Mapping[str, str | None]) -> dict[str, str]:
    """Labels always have a value."""
    return {name: value or "" for name, value in labels.items()}


def filtered(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of an exemplar that are no ids."""
    return {name: value for name, value in labels.items() if not is_id_label(name)}


def families_of(metadata: Iterable[Mapping[str, Any]]) -> tuple[Family, ...]:
    """What metadata says about the metrics it names, each series name once."""
    found: dict[str, Family] = {}
    for each in metadata:
        if not each["type"] or each["type"] not in MetricMetadata.Type.values():
            continue
        kind = MetricMetadata.Type.Name(each["type"]).lower()
        for suffix in SUFFIXES.get(kind, ("",)):
            name = each["metric_family_name"] + suffix
            found[name] = Family(name, kind, each["unit"])
    return tuple(found.values())
