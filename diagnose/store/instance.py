"""The one DuckDB instance of a store: cursors for everybody, and opening it again when it has become invalid."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

import duckdb

from diagnose.errors import StoreBusy
from diagnose.telemetry import get_logger

log = get_logger(__name__)


class Instance:
    """*open_* makes a new one; it is called at once, and again whenever the present one is beyond use."""

    def __init__(self, open_: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._open = open_
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = open_()
        self._cursors: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """For one thread. Raises StoreBusy while there is no instance."""
        with self._lock:
            if self._connection is None:
                raise StoreBusy("the database is being opened again")
            cursor = self._connection.cursor()
            self._cursors.add(cursor)
        return cursor

    def reopen(self, broken: duckdb.DuckDBPyConnection | None) -> None:
        """
        Replace the instance that *broken* is a cursor of, unless that has happened already; None: if there is none.
        Raises what opening does.

        All its cursors are closed; their running statements are interrupted, since closing waits for them.
        """
        with self._lock:
            if self._connection is not None and broken not in self._cursors:
                return
            log.warning("database opened again")
            self._let_go()
            self._connection = self._open()

    def close(self) -> None:
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        for cursor in list(self._cursors):
            with suppress(duckdb.Error):
                cursor.interrupt()
        self._cursors = WeakSet()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
