"""Series of a whole request: an id for each row, and the distinct ones as rows of table `metric_series`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from diagnose.receive.arrays import Ints
from diagnose.receive.pairs import Pairs
from diagnose.store.arrow import table_of
from diagnose.store.series import SERIES, WITHOUT_ATTRIBUTES, SeriesKind, series_ids


class SeriesColumns:
    """Collects the series of one request."""

    def __init__(self) -> None:
        self._parts: list[tuple[Sequence[SeriesKind], Ints, Pairs, Ints]] = []

    def add(self, kinds: Sequence[SeriesKind], kind_of: Ints, pairs: Pairs) -> pa.Array:
        """The id of each row, whose kind is `kinds[kind_of[row]]` and whose attributes are list *row* of *pairs*."""
        hashed = np.array([kind.hash() for kind in kinds], np.uint64)
        ids = series_ids(hashed[kind_of], pairs.hashes())
        self._parts.append((kinds, kind_of, pairs, ids))
        return pa.array(ids)

    def forget_last(self) -> None:
        self._parts.pop()

    def table(self, seen_at: datetime) -> pa.Table:
        """The distinct series of each part."""
        parts = [self._table(*part, seen_at) for part in self._parts]
        return pa.concat_tables([SERIES.empty_table(), *parts])

    @staticmethod
    def _table(kinds: Sequence[SeriesKind], kind_of: Ints, pairs: Pairs, ids: Ints, seen_at: datetime) -> pa.Table:
        distinct, first = np.unique(ids, return_index=True)
        described = table_of([kind.row(seen_at) for kind in kinds], WITHOUT_ATTRIBUTES).take(pa.array(kind_of[first]))
        attributes = pairs.maps().take(pa.array(first))
        columns = {"series_id": pa.array(distinct), "attributes": attributes}
        columns |= {name: described[name] for name in described.column_names}
        return pa.Table.from_arrays([columns[name] for name in SERIES.names], schema=SERIES)
