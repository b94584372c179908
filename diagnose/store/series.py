"""
Series: what the points of a metric belong to. Each distinct one once.

A series is its name, kind, attributes and where it came from; `series_id` is a hash of that, so whoever sends the same
series finds the same id. Attributes count as a sum of hashes, one a pair, so that their order does not matter and a
whole request can be hashed with arithmetic on arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from diagnose.pprof.hashing import hash64, mix
from diagnose.store.arrow import TEXT_MAP, TIME, table_of

SERIES = pa.schema(
    [
        ("series_id", pa.int64()),
        ("name", pa.string()),
        ("type", pa.string()),
        ("unit", pa.string()),
        ("temporality", pa.string()),
        ("is_monotonic", pa.bool_()),
        ("service_name", pa.string()),
        ("resource_id", pa.int64()),
        ("source", pa.string()),
        ("first_seen", TIME),
        ("attributes", TEXT_MAP),
    ]
)
WITHOUT_ATTRIBUTES = pa.schema([field for field in SERIES if field.name not in ("series_id", "attributes")])
OTLP, PROMETHEUS = "otlp", "prometheus"
ID_MASK = (1 << 63) - 1
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class SeriesKind:
    """A series but for its attributes."""

    name: str
    type: str
    unit: str
    service_name: str
    temporality: str = ""
    is_monotonic: bool = False
    resource_id: int | None = None
    scope_name: str = ""
    source: str = OTLP

    def row(self, seen_at: datetime) -> tuple[object, ...]:
        """As WITHOUT_ATTRIBUTES."""
        kind = (self.name, self.type, self.unit, self.temporality, self.is_monotonic)
        return (*kind, self.service_name, self.resource_id, self.source, seen_at)

    def hash(self) -> int:
        return _hash_of_kind(self)


@lru_cache(maxsize=65_536)
def _hash_of_kind(kind: SeriesKind) -> int:
    content = (kind.name, kind.type, kind.unit, kind.temporality, kind.is_monotonic)
    return _hash((*content, kind.service_name, kind.resource_id, kind.scope_name, kind.source))


@lru_cache(maxsize=65_536)
def hash_of_pair(key: str, text: str | None) -> int:
    return _hash((key, text))


def _hash(content: object) -> int:
    return hash64(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode())


def series_ids(kinds: Hashes, attributes: Hashes) -> npt.NDArray[np.int64]:
    """
    The ids of many series at once.

    *kinds* are `SeriesKind.hash`, *attributes* the sums of `hash_of_pair` modulo 2⁶⁴.
    """
    return (mix(kinds, attributes) & np.uint64(ID_MASK)).astype(np.int64)


@dataclass(frozen=True)
class SeriesKey:
    """One series; equal keys have equal ids."""

    kind: SeriesKind
    attributes: Mapping[str, str | None]

    def series_id(self) -> int:
        total = sum(hash_of_pair(key, text) for key, text in self.attributes.items()) % 2**64
        [found] = series_ids(np.array([self.kind.hash()], np.uint64), np.array([total], np.uint64))
        return int(found)


def series_table(keys: Mapping[int, SeriesKey], seen_at: datetime) -> pa.Table:
    """The rows of table `metric_series` from id → key."""
    rows = [(series_id, *key.kind.row(seen_at), list(key.attributes.items())) for series_id, key in keys.items()]
    return table_of(rows, SERIES)
