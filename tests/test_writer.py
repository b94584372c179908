from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import duckdb
import pytest

from diagnose.errors import DecodeError, StoreBusy, StoreError
from diagnose.store import writer as writing
from diagnose.store.db import Store
from diagnose.store.writer import Writer
from tests.waiting import wait_until

Cursor = duckdb.DuckDBPyConnection


class Gate:
    """A job that holds the writer until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, _cursor: Cursor) -> None:
        self.entered.set()
        assert self.open.wait(10)


@pytest.fixture
def database() -> Iterator[Cursor]:
    connection = duckdb.connect(":memory:")
    connection.execute("CREATE TABLE line (text VARCHAR NOT NULL)")
    yield connection
    connection.close()


@pytest.fixture
def writer(database: Cursor) -> Iterator[Writer]:
    started = Writer("control", database.cursor, max_waiting_bytes=1000)
    started.start()
    yield started
    started.stop()


def add(text: str) -> writing.Job[str]:
    def job(cursor: Cursor) -> str:
        cursor.execute("INSERT INTO line VALUES (?)", [text])
        return text

    return job


def fail(error: Exception) -> writing.Job[None]:
    def job(cursor: Cursor) -> None:
        cursor.execute("INSERT INTO line VALUES ('of a job that fails')")
        raise error

    return job


def nothing(_cursor: Cursor) -> None:
    """A job without any work."""


def lines(database: Cursor) -> list[str]:
    return [text for (text,) in database.cursor().execute("SELECT text FROM line ORDER BY rowid").fetchall()]


def test_a_job_is_committed_when_its_result_is_there(writer, database):
    assert "a" == writer.run(add("a"))
    assert ["a"] == lines(database)


def test_jobs_run_in_the_order_they_came(writer, database):
    gate = Gate()
    held = writer.submit(gate)
    waiting = [writer.submit(add(text)) for text in "abcdef"]
    gate.open.set()

    assert list("abcdef") == [each.result(5) for each in waiting]
    assert None is held.result(5)
    assert list("abcdef") == lines(database)


def test_jobs_that_wait_together_share_one_commit_and_a_bad_one_fails_alone(writer, database):
    gate = Gate()
    writer.submit(gate)
    assert gate.entered.wait(5)
    before, bad, after = writer.submit(add("a")), writer.submit(fail(DecodeError("x"))), writer.submit(add("b"))
    gate.open.set()

    assert ("a", "b") == (before.result(5), after.result(5))
    assert isinstance(bad.exception(5), DecodeError)
    assert ["a", "b"] == lines(database)


def together(cursor: Cursor, texts: Sequence[str]) -> list[tuple[str, int]]:
    """All texts with one statement; each learns how many there were."""
    if "bad" in texts:
        raise DecodeError("a bad one")
    cursor.execute("INSERT INTO line SELECT unnest($texts)", {"texts": list(texts)})
    return [(text, len(texts)) for text in texts]


def run_in_threads(*calls: Callable[[], Any]) -> list[Future[Any]]:
    pool = ThreadPoolExecutor(len(calls))
    futures = [pool.submit(call) for call in calls]
    pool.shutdown(wait=False)
    return futures


def test_items_of_one_kind_that_wait_together_are_stored_together(writer, database):
    gate = Gate()
    writer.submit(gate)
    assert gate.entered.wait(5)
    stored = run_in_threads(*(partial(writer.run_together, together, text) for text in "abc"))
    wait_until(lambda: writer.waiting_jobs == 3)
    gate.open.set()

    assert [("a", 3), ("b", 3), ("c", 3)] == [each.result(5) for each in stored]
    assert list("abc") == sorted(lines(database))


def test_a_bad_item_is_refused_alone(writer, database):
    gate = Gate()
    writer.submit(gate)
    assert gate.entered.wait(5)
    stored = run_in_threads(*(partial(writer.run_together, together, text) for text in ("a", "bad", "b")))
    wait_until(lambda: writer.waiting_jobs == 3)
    gate.open.set()

    assert isinstance(stored[1].exception(5), DecodeError)
    assert [("a", 1), ("b", 1)] == [stored[0].result(5), stored[2].result(5)]
    assert ["a", "b"] == sorted(lines(database))


def test_a_failed_job_leaves_nothing_and_the_next_one_works(writer, database):
    with pytest.raises(ZeroDivisionError):
        writer.run(fail(ZeroDivisionError()))

    writer.run(add("a"))
    assert ["a"] == lines(database)


def test_what_the_database_says_becomes_an_error_of_ours(writer):
    with pytest.raises(StoreError, match="NOT NULL") as caught:
        writer.run(lambda cursor: cursor.execute("INSERT INTO line VALUES (NULL)"))

    assert isinstance(caught.value.__cause__, duckdb.ConstraintException)
    assert not caught.value.retryable


def test_a_full_disk_or_memory_is_worth_another_try(writer):
    def job(_cursor: Cursor) -> None:
        raise duckdb.OutOfMemoryException("no space left")

    with pytest.raises(StoreBusy, match="not durable: no space left"):
        writer.run(job)


def test_a_commit_that_comes_late_is_given_up_and_never_happens(writer, database):
    gate = Gate()
    writer.submit(gate)
    assert gate.entered.wait(5)
    with pytest.raises(StoreBusy, match="the control database is behind"):
        writer.run(add("late"), wait_s=0.01)
    gate.open.set()

    writer.run(add("a"))
    assert ["a"] == lines(database)


def test_a_job_that_runs_when_the_time_is_over_is_waited_for(writer, database):
    entered, leave = threading.Event(), threading.Event()

    def slow(cursor: Cursor) -> str:
        entered.set()
        assert leave.wait(10)
        return add("slow")(cursor)

    results: list[str] = []
    caller = threading.Thread(target=lambda: results.append(writer.run(slow, wait_s=1.0)))
    caller.start()
    assert entered.wait(5)
    caller.join(1.2)
    leave.set()
    caller.join(5)

    assert ["slow"] == results == lines(database)


def test_the_queue_is_bounded_in_bytes(writer):
    gate = Gate()
    writer.submit(gate)
    assert gate.entered.wait(5)
    fits = writer.submit(add("a"), size_bytes=900)
    with pytest.raises(StoreBusy, match="queue holds 900 bytes"):
        writer.submit(add("b"), size_bytes=200)
    gate.open.set()

    assert "a" == fits.result(5)
    assert "b" == writer.run(add("b"), size_bytes=900)


def test_one_job_larger_than_the_queue_is_taken_when_nothing_waits(writer):
    assert "a" == writer.run(add("a"), size_bytes=5000)


def test_the_queue_is_bounded_in_jobs(writer):
    gate = Gate()
    writer.submit(gate)
    assert gate.entered.wait(5)
    waiting = [writer.submit(nothing) for _ in range(writing.MAX_WAITING_JOBS)]
    with pytest.raises(StoreBusy, match="queue holds 1024 jobs"):
        writer.submit(nothing)

    assert writer.oldest_waiting_s > 0
    gate.open.set()
    assert None is waiting[-1].result(10)
    assert (0, 0.0) == (writer.waiting_jobs, writer.oldest_waiting_s)


def test_stopping_commits_what_waits_and_refuses_what_comes_later(database):
    writer = Writer("control", database.cursor)
    writer.start()
    gate = Gate()
    writer.submit(gate)
    waiting = writer.submit(add("a"))
    gate.open.set()
    writer.stop()
    writer.stop()

    assert "a" == waiting.result(0)
    assert ["a"] == lines(database)
    with pytest.raises(StoreBusy, match="is closing"):
        writer.submit(add("b"))


def test_what_was_committed_is_there_after_reopening(tmp_path):
    with Store.open(tmp_path) as store:
        store.control.run(lambda cursor: cursor.execute("INSERT INTO timing VALUES ('inc-1', 'webhook_to_ack', 1.5)"))
    with Store.open(tmp_path, read_only=True) as store:
        assert 1.5 == store.row("SELECT ms FROM timing")["ms"]


OPEN = "import sys; from pathlib import Path; from diagnose.store.db import Store; Store.open(Path(sys.argv[1]))"


def test_files_that_are_open_cannot_be_opened_again(store):
    with pytest.raises(StoreError, match="is open already"):
        Store.open(store.path, read_only=True)

    other = subprocess.run(
        [sys.executable, "-c", OPEN, store.path], capture_output=True, text=True, timeout=30, check=False
    )
    assert "is open already (is a server running?)" in other.stderr


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "control.duckdb").write_bytes(b"no database" * 1000)

    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path)
