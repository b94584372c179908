"""
One writer thread per database file, with group commit.

A job is a function that gets a cursor inside a transaction. Jobs that wait together share one commit, which is what
makes a durable answer cheap. What has many rows to write goes further: `run_together` hands all items of one kind that
wait to one function, which stores them with few statements. When a job fails, the group is rolled back and each is run
again alone, so that a bad job fails by itself: jobs must be safe to run twice.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import Any, TypeVar

import duckdb

from diagnose.errors import DiagnoseError, StoreBusy, StoreError
from diagnose.telemetry import get_logger

log = get_logger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")
Job = Callable[[duckdb.DuckDBPyConnection], Result]
Together = Callable[[duckdb.DuckDBPyConnection, Sequence[Item]], Sequence[Result]]

MAX_WAITING_JOBS = 1024
MAX_GROUP_JOBS = 64
MAX_GROUP_BYTES = 67_108_864


@dataclass
class _Entry:
    """One item, to be run by `together` with those of its kind; an ordinary job is an item of `_one_by_one`."""

    together: Together[Any, Any]
    item: Any
    size_bytes: int
    result: Future[Any] = field(default_factory=Future)


class Writer:
    """Runs jobs of one database in order of arrival. Start with `start`, end with `stop`; both are quick."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], duckdb.DuckDBPyConnection],
        *,
        max_waiting_bytes: int = 268_435_456,
        gather_s: float = 0.0,
    ) -> None:
        """*gather_s*: how long to wait for as many jobs as came together last time, so that they share a commit."""
        self.name = name
        self._gather_s = gather_s
        self._last_size = 1
        self._connect = connect
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: queue.Queue[_Entry | None] = queue.Queue(MAX_WAITING_JOBS)
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"writer-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then end the thread. Later jobs are refused with StoreBusy."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        self._waiting.put(None)
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """False before `start`, after `stop`, and when the thread died."""
        return self._thread.is_alive()

    @property
    def waiting_jobs(self) -> int:
        return self._waiting.qsize()

    def run(self, job: Job[Result], *, size_bytes: int = 0, wait_s: float = 5.0) -> Result:
        """
        Run *job* and return its result once it is committed.

        *size_bytes* is what the job keeps in memory while it waits. Raises StoreBusy when the queue is full or the
        commit did not happen within *wait_s* (then it is not known whether it will), else what the job raised.
        """
        return self._result(self.submit(job, size_bytes=size_bytes), wait_s)

    def run_together(
        self, together: Together[Item, Result], item: Item, *, size_bytes: int = 0, wait_s: float = 5.0
    ) -> Result:
        """
        As `run`, for what is cheaper in numbers: *together* gets all items that wait for it, in order of arrival.

        It answers a result for each. Its items come before or after jobs of other kinds that wait with them.
        """
        future: Future[Result] = self._put(_Entry(together, item, size_bytes))
        return self._result(future, wait_s)

    def _result(self, future: Future[Result], wait_s: float) -> Result:
        try:
            return future.result(timeout=wait_s)
        except FutureTimeout as err:
            if future.cancel():
                raise StoreBusy(f"the {self.name} database is behind") from err
            return self._last_moment(future, err)

    def _last_moment(self, future: Future[Result], err: Exception) -> Result:
        """The job is being committed right now: a commit takes milliseconds, its outcome is worth waiting for."""
        try:
            return future.result(timeout=5.0)
        except FutureTimeout:
            raise StoreBusy(f"the {self.name} database is behind") from err

    def submit(self, job: Job[Result], *, size_bytes: int = 0) -> Future[Result]:
        """Queue *job*; the future ends after the commit. Raises StoreBusy when the queue is full in jobs or bytes."""
        return self._put(_Entry(_one_by_one, job, size_bytes))

    def _put(self, entry: _Entry) -> Future[Any]:
        with self._lock:
            if self._stopped:
                raise StoreBusy(f"the {self.name} database is closing")
            if self._waiting_bytes and self._waiting_bytes + entry.size_bytes > self._max_waiting_bytes:
                raise StoreBusy(f"the {self.name} queue holds {self._waiting_bytes} bytes")
            try:
                self._waiting.put_nowait(entry)
            except queue.Full as err:
                raise StoreBusy(f"the {self.name} queue holds {MAX_WAITING_JOBS} jobs") from err
            self._waiting_bytes += entry.size_bytes
        return entry.result

    def _run(self) -> None:
        cursor = self._connect()
        while True:
            group, last = self._next_group()
            if group:
                self._commit(cursor, group)
                with self._lock:
                    self._waiting_bytes -= sum(entry.size_bytes for entry in group)
            if last:
                cursor.close()
                return

    def _next_group(self) -> tuple[list[_Entry], bool]:
        """What waits now, at least one and no more than one commit should hold; whether it was the last."""
        group: list[_Entry] = []
        entry = self._waiting.get()
        until_s = time.monotonic() + self._gather_s
        while entry is not None:
            if entry.result.set_running_or_notify_cancel():
                group.append(entry)
            if len(group) == MAX_GROUP_JOBS or sum(each.size_bytes for each in group) >= MAX_GROUP_BYTES:
                break
            wait_s = until_s - time.monotonic() if len(group) < self._last_size else 0.0
            try:
                entry = self._waiting.get(block=wait_s > 0, timeout=wait_s)
            except queue.Empty:
                break
        self._last_size = len(group)
        return group, entry is None

    def _commit(self, cursor: duckdb.DuckDBPyConnection, group: list[_Entry]) -> None:
        try:
            results = _in_transaction(cursor, group)
        except Exception as err:  # noqa: BLE001  whatever a job raises belongs to its caller
            if len(group) > 1:
                for entry in group:
                    self._commit(cursor, [entry])
            else:
                group[0].result.set_exception(_named(err))
            return
        for entry, result in zip(group, results, strict=True):
            entry.result.set_result(result)


def _in_transaction(cursor: duckdb.DuckDBPyConnection, group: list[_Entry]) -> list[Any]:
    """The results of *group*, in its order, after the commit."""
    cursor.execute("BEGIN TRANSACTION")
    try:
        results = _run(cursor, group)
        cursor.execute("COMMIT")
    except BaseException:
        try:
            cursor.execute("ROLLBACK")
        except duckdb.Error:
            log.debug("nothing to roll back")
        raise
    return results


def _run(cursor: duckdb.DuckDBPyConnection, group: list[_Entry]) -> list[Any]:
    kinds: dict[Together[Any, Any], list[int]] = {}
    for at, entry in enumerate(group):
        kinds.setdefault(entry.together, []).append(at)
    results: dict[int, Any] = {}
    for together, places in kinds.items():
        results.update(zip(places, together(cursor, [group[at].item for at in places]), strict=True))
    return [results[at] for at in range(len(group))]


def _one_by_one(cursor: duckdb.DuckDBPyConnection, jobs: Sequence[Job[Any]]) -> list[Any]:
    return [job(cursor) for job in jobs]


def _named(err: Exception) -> Exception:
    """Our own errors and programming mistakes as they are; what the database says as a StoreError."""
    if isinstance(err, DiagnoseError) or not isinstance(err, duckdb.Error):
        return err
    if isinstance(err, duckdb.IOException | duckdb.OutOfMemoryException | duckdb.FatalException):
        named: StoreError = StoreBusy(f"not durable: {err}")
    else:
        named = StoreError(str(err))
    named.__cause__ = err
    return named
