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

from diagnose.errors import StoreBusy, StoreError, Unstorable
from diagnose.store.failures import is_cut_off, is_invalid, named
from diagnose.telemetry import FAILURES, get_logger

log = get_logger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")
Job = Callable[[duckdb.DuckDBPyConnection], Result]
Together = Callable[[duckdb.DuckDBPyConnection, Sequence[Item]], Sequence[Result]]
OnPoison = Callable[[str, Any, Exception], Any]

MAX_WAITING_JOBS = 1024
MAX_GROUP_JOBS = 64
MAX_GROUP_BYTES = 67_108_864
PROBE_EVERY_S = 1.0  # while nothing can be made durable


@dataclass
class _Entry:
    """One item, to be run by `together` with those of its kind; an ordinary job is an item of `_one_by_one`."""

    together: Together[Any, Any]
    item: Any
    size_bytes: int
    gather_s: float = 0.0
    queued_s: float = field(default_factory=time.monotonic)
    result: Future[Any] = field(default_factory=Future)


def refuse_poison(database: str, _item: Any, err: Exception) -> Any:
    """What `Writer.on_poison` does unless somebody knows better: the caller is told not to send it again."""
    raise Unstorable(f"the {database} database breaks on this: {err}") from err


class Writer:
    """
    Runs jobs of one database in order of arrival. Start with `start`, end with `stop`; both are quick.

    `problem` says why nothing can be made durable now; it is looked after without further jobs. A database that has
    become invalid is opened again and the jobs replayed. An item that breaks it once more goes to `on_poison` with the
    name of the database and the error; what that answers or raises is the item's outcome.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], duckdb.DuckDBPyConnection],
        reopen: Callable[[duckdb.DuckDBPyConnection | None], None] = lambda _broken: None,
        *,
        max_waiting_bytes: int = 268_435_456,
        gather_s: float = 0.0,
    ) -> None:
        """
        *connect* and *reopen* are those of the Instance.

        *gather_s*: how long to wait, while jobs come in numbers, for those who had their answer a moment ago: they
        share the commit with those that waited meanwhile.
        """
        self.name = name
        self.problem = ""
        self.on_poison: OnPoison = refuse_poison
        self._reopen = reopen
        self._cursor: duckdb.DuckDBPyConnection | None = None
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

    @property
    def oldest_waiting_s(self) -> float:
        """Age of the job that waits longest; 0 when none does."""
        with self._waiting.mutex:
            oldest = self._waiting.queue[0] if self._waiting.queue else None
        return 0.0 if oldest is None else time.monotonic() - oldest.queued_s

    def run(self, job: Job[Result], *, size_bytes: int = 0, wait_s: float = 5.0) -> Result:
        """
        Run *job* and return its result once it is committed.

        *size_bytes* is what the job keeps in memory while it waits. Raises StoreBusy when the queue is full or the
        commit did not happen within *wait_s* (then it is not known whether it will), else what the job raised.
        """
        return self._result(self.submit(job, size_bytes=size_bytes), wait_s)

    def run_together(
        self,
        together: Together[Item, Result],
        item: Item,
        *,
        size_bytes: int = 0,
        wait_s: float = 5.0,
        gather_s: float = 0.0,
    ) -> Result:
        """
        As `run`, for what is cheaper in numbers: *together* gets all items that wait for it, in order of arrival.

        It answers a result for each. Its items come before or after jobs of other kinds that wait with them. *gather_s*
        is that of the writer, for a group that begins with this item.
        """
        future: Future[Result] = self._put(_Entry(together, item, size_bytes, gather_s))
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
        while True:
            group, last = self._next_group()
            if group:
                self._commit(group)
                with self._lock:
                    self._waiting_bytes -= sum(entry.size_bytes for entry in group)
            if last:
                if self._cursor is not None:
                    self._cursor.close()
                return

    def _next_group(self) -> tuple[list[_Entry], bool]:
        """What waits now, at least one and no more than one commit should hold; whether it was the last."""
        group: list[_Entry] = []
        try:
            entry = self._waiting.get(timeout=PROBE_EVERY_S if self.problem else None)
        except queue.Empty:
            return [_Entry(_one_by_one, self._probe, 0)], False
        expected = self._last_size + self._waiting.qsize() if self._last_size > 1 else 0
        until_s = time.monotonic() + max(self._gather_s, entry.gather_s if entry else 0.0)
        while entry is not None:
            if entry.result.set_running_or_notify_cancel():
                group.append(entry)
            if len(group) == MAX_GROUP_JOBS or sum(each.size_bytes for each in group) >= MAX_GROUP_BYTES:
                break
            wait_s = until_s - time.monotonic() if len(group) < expected else 0.0
            try:
                entry = self._waiting.get(block=wait_s > 0, timeout=wait_s)
            except queue.Empty:
                break
        self._last_size = len(group)
        return group, entry is None

    def _commit(self, group: list[_Entry], *, is_replay: bool = False) -> None:
        try:
            results = _in_transaction(self._open_cursor(), group)
        except Exception as err:  # noqa: BLE001  whatever a job raises belongs to its caller
            self._failed(group, err, is_replay=is_replay)
            return
        self.problem = ""
        for entry, result in zip(group, results, strict=True):
            entry.result.set_result(result)

    def _failed(self, group: list[_Entry], err: Exception, *, is_replay: bool) -> None:
        """Each alone once more, after opening the database again if need be; what breaks it a second time goes."""
        if is_invalid(err) or is_cut_off(err):
            self._cursor = self._reopened(err)
            if is_replay and is_invalid(err):
                self._put_aside(group[0], err)
                return
            if self._cursor is None:
                self._refuse(group, StoreBusy(self.problem))
                return
        elif len(group) == 1 or self._cursor is None:
            self._refuse(group, named(err))
            return
        for entry in group:
            self._commit([entry], is_replay=is_replay or is_invalid(err))

    def _refuse(self, group: list[_Entry], err: Exception) -> None:
        if isinstance(err, StoreBusy):
            self.problem = str(err)
        for entry in group:
            entry.result.set_exception(err)

    def _put_aside(self, entry: _Entry, err: Exception) -> None:
        FAILURES.labels("poison").inc()
        log.error("the database breaks on this, put aside", database=self.name, error=str(err))
        try:
            entry.result.set_result(self.on_poison(self.name, entry.item, err))
        except Exception as refused:  # noqa: BLE001  it belongs to the caller
            entry.result.set_exception(refused)

    def _open_cursor(self) -> duckdb.DuckDBPyConnection:
        """Raises StoreBusy while the database cannot be opened."""
        if self._cursor is None:
            try:
                self._reopen(None)
                self._cursor = self._connect()
            except (duckdb.Error, StoreError) as err:
                raise StoreBusy(f"the {self.name} database cannot be opened: {err}") from err
        return self._cursor

    def _probe(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """A write that changes nothing: whether the trouble is over, although nobody asks for anything."""
        cursor.execute(f"UPDATE {self.name}.schema_version SET version = version")  # noqa: S608  our own name

    def _reopened(self, err: Exception) -> duckdb.DuckDBPyConnection | None:
        """A cursor of the database opened again; None when that failed, which the next commit tries to mend."""
        broken, self._cursor = self._cursor, None
        self.problem = f"the {self.name} database is being opened again"
        log.error("database invalid", database=self.name, error=str(err))
        try:
            if broken is not None:
                self._reopen(broken)
            return self._connect()
        except (duckdb.Error, StoreError) as failed:
            log.exception("database not opened again", database=self.name)
            self.problem = f"the {self.name} database cannot be opened: {failed}"
            return None


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
