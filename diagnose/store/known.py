"""Ids that are in a table already: whoever remembers them need not ask the database with every request."""

from __future__ import annotations

import pyarrow as pa

MAX_KNOWN = 1_000_000


class KnownIds:
    """
    Of a table whose rows never go. Safe for several threads.

    Not knowing an id is no harm, so it is emptied when it has grown too large; knowing one that is not there would be:
    `add` only what was committed.
    """

    def __init__(self) -> None:
        self._ids: set[int] = set()

    def unknown(self, rows: pa.Table, key: str) -> pa.Table:
        """Those of *rows* whose *key* is not known."""
        known = self._ids
        positions = [place for place, number in enumerate(rows[key].to_pylist()) if number not in known]
        return rows if len(positions) == rows.num_rows else rows.take(pa.array(positions, pa.int64()))

    def add(self, rows: pa.Table, key: str) -> None:
        if rows.num_rows:
            if len(self._ids) > MAX_KNOWN:
                self._ids = set()
            self._ids.update(rows[key].to_pylist())
