"""Who gets a child for a query, and what becomes of the children."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diagnose.errors import QueryError
from diagnose.query.child import Child
from diagnose.query.pool import WorkerPool
from diagnose.query.question import Limits, Question
from diagnose.store.db import Store
from diagnose.store.snapshots import Snapshot, Snapshots

LIMITS = Limits(timeout_s=60.0, rows=10, memory_bytes=256 * 2**20)
ENDLESS = Question("SELECT count(*) FROM range(100000000000) AS t(a) WHERE hash(a) % 7 = 3")
ONE = Question("SELECT 1")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    with Store.open(tmp_path_factory.mktemp("pool")) as store:
        snapshots = Snapshots(store)
        with snapshots.newest() as newest:
            yield newest
        snapshots.close()


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    opened = WorkerPool(2, wait_s=60)
    yield opened
    opened.close()


def test_a_process_that_did_its_work_is_used_again(pool: WorkerPool, snapshot: Snapshot):
    seen = set()
    for _ in range(5):
        with pool.worker("a") as child:
            child.ask(ONE, snapshot, LIMITS)
            seen.add(child.pid)

    assert 1 == len(seen)


def test_wrong_sql_does_not_cost_the_process(pool: WorkerPool, snapshot: Snapshot):
    with pool.worker("a") as child:
        for wrong in ("SELECT nothing", "DROP TABLE x", "SELECT error('no')"):
            with pytest.raises(QueryError):
                child.ask(Question(wrong), snapshot, LIMITS)

        assert [[1]] == child.ask(ONE, snapshot, LIMITS).json["rows"]


def test_one_process_is_always_started_and_waiting(pool: WorkerPool):
    pool.start()
    assert 1 == pool.spares
    with pool.worker("a"), pool.worker("b"):
        assert 1 == pool.spares


def test_a_killed_process_is_replaced(pool: WorkerPool, snapshot: Snapshot):
    with pool.worker("a") as child, pytest.raises(QueryError, match="longer than"):
        child.ask(ENDLESS, snapshot, Limits(0.1, 10, 2**28))
    with pool.worker("a") as other:
        assert [[1]] == other.ask(ONE, snapshot, LIMITS).json["rows"]

    assert child.pid != other.pid
    assert not child.is_alive


def test_a_process_the_kernel_ended_is_an_error_and_no_loss(pool: WorkerPool, snapshot: Snapshot):
    with pool.worker("a") as child:
        child.ask(ONE, snapshot, LIMITS)
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(QueryError, match="SIGKILL"):
            child.ask(ENDLESS, snapshot, LIMITS)
    with pool.worker("a") as other:
        assert [[1]] == other.ask(ONE, snapshot, LIMITS).json["rows"]


def test_a_spare_that_died_is_not_handed_out(pool: WorkerPool, snapshot: Snapshot):
    with pool.worker("a") as child:
        child.ask(ONE, snapshot, LIMITS)
    child.kill()
    with pool.worker("a") as other:
        assert [[1]] == other.ask(ONE, snapshot, LIMITS).json["rows"]


def test_one_token_leaves_a_worker_to_the_others(snapshot: Snapshot):
    pool = WorkerPool(2, wait_s=0.05)
    with pool.worker("greedy"):
        with pytest.raises(QueryError, match="too many queries at once") as caught, pool.worker("greedy"):
            pass
        with pool.worker("other") as child:
            assert [[1]] == child.ask(ONE, snapshot, LIMITS).json["rows"]
    pool.close()

    assert "busy" == caught.value.code


def test_where_nobody_is_told_apart_all_workers_may_be_used():
    pool = WorkerPool(2, wait_s=0.05)
    with pool.worker(None), pool.worker(None), pytest.raises(QueryError), pool.worker(None):
        pass
    pool.close()


def test_whoever_comes_too_early_waits(pool: WorkerPool, snapshot: Snapshot):
    def ask(_: int) -> int:
        with pool.worker("a") as child:
            return child.ask(ONE, snapshot, LIMITS).row_count

    with ThreadPoolExecutor(6) as threads:
        assert [1] * 6 == list(threads.map(ask, range(6)))


def test_too_many_that_wait_are_told_so_at_once():
    pool = WorkerPool(1, wait_s=60)
    taken = threading.Barrier(5)

    def wait() -> None:
        taken.wait()
        with pool.worker("a"):
            pass

    with ThreadPoolExecutor(4) as threads:
        with pool.worker("a"):
            waiting = [threads.submit(wait) for _ in range(4)]
            taken.wait()
            _until(lambda: pool.waiting == 4)
            with pytest.raises(QueryError, match="wait already") as caught, pool.worker("b"):
                pass
        for each in waiting:
            each.result(60)
    pool.close()

    assert "busy" == caught.value.code


def test_a_query_is_stopped_when_nobody_waits_for_it(pool: WorkerPool, snapshot: Snapshot):
    ours, theirs = socket.socketpair()
    with pool.worker("a") as child, ours:
        child.ask(ONE, snapshot, LIMITS, client=ours.fileno())
        theirs.close()
        with pytest.raises(QueryError) as caught:
            child.ask(ENDLESS, snapshot, LIMITS, client=ours.fileno())

    assert "cancelled" == caught.value.code
    assert not child.is_alive


def test_closing_ends_what_runs(snapshot: Snapshot):
    pool = WorkerPool(1)
    with ThreadPoolExecutor(1) as threads:
        started: list[Child] = []

        def ask() -> None:
            with pool.worker(None) as child:
                child.ask(ONE, snapshot, LIMITS)
                started.append(child)
                child.ask(ENDLESS, snapshot, LIMITS)

        running = threads.submit(ask)
        _until(lambda: started)
        pool.close()

        assert isinstance(running.exception(60), QueryError)
    with pytest.raises(QueryError, match="stops"), pool.worker(None):
        pass
    assert not started[0].is_alive


def test_children_end_when_their_pipe_is_closed(tmp_path: Path):
    """As when the server is killed."""
    child = Child()
    child._questions.close()
    _until(lambda: not child.is_alive)
    child.kill()


def _until(true: object) -> None:
    deadline = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
