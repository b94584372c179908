"""Work of one key in order, work of the same name once; capture rounds beside each other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from diagnose.telemetry import REGISTRY
from diagnose.threads import CaptureRounds, OneAtATime
from tests.builders import capture
from tests.waiting import wait_until


@pytest.fixture
def pool():
    with ThreadPoolExecutor(max_workers=4) as made:
        yield made


def test_work_of_one_key_runs_in_order_and_never_together():
    done: list[int] = []
    line = OneAtATime(4, "test")
    for number in range(20):
        line.submit("inc-1", f"work-{number}", lambda each=number: done.append(each))
    _drain(line, "inc-1")

    assert list(range(20)) == done


def test_work_that_waits_under_the_same_name_is_not_queued_twice():
    begun, go_on, runs = threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        go_on.wait(5)

    line = OneAtATime(2, "test")
    line.submit("inc-1", "first", first)
    assert begun.wait(5)
    for _ in range(10):
        line.submit("inc-1", "investigate", lambda: runs.append("investigate"))
    go_on.set()
    _drain(line, "inc-1")

    assert ["investigate"] == runs


def test_a_failure_is_counted_and_the_next_work_runs():
    def fail() -> None:
        raise ZeroDivisionError

    before = REGISTRY.get_sample_value("diagnose_failures_total", {"stage": "broken"}) or 0
    ran = threading.Event()
    line = OneAtATime(1, "test")
    line.submit("inc-1", "broken", fail)
    line.submit("inc-1", "next", ran.set)

    assert ran.wait(5)
    assert before + 1 == REGISTRY.get_sample_value("diagnose_failures_total", {"stage": "broken"})
    line.stop()


def test_what_comes_while_it_stops_is_forgotten():
    begun, go_on, done = threading.Event(), threading.Event(), []
    line = OneAtATime(1, "test")

    def work() -> None:
        begun.set()
        assert go_on.wait(60)
        line.submit("inc-1", "after", lambda: done.append("after"))
        line.submit("inc-2", "elsewhere", lambda: done.append("elsewhere"))
        done.append("work")

    line.submit("inc-1", "work", work)
    assert begun.wait(60)
    line.submit("inc-1", "next", lambda: done.append("next"))
    ending = threading.Thread(target=line.stop)
    ending.start()
    wait_until(lambda: line.is_stopped)
    go_on.set()
    ending.join()

    assert ["work"] == done


def test_work_for_later_takes_the_place_of_what_was_still_to_come():
    done: list[str] = []
    line = OneAtATime(1, "test")
    line.submit_later(0.2, "inc-1", "report", lambda: done.append("first"))
    line.submit_later(0.2, "inc-1", "report", lambda: done.append("second"))
    line.submit_later(3600, "inc-1", "other", lambda: done.append("never"))
    wait_until(lambda: done)
    line.submit_later(0, "inc-1", "report", lambda: done.append("third"))
    wait_until(lambda: len(done) == 2)
    line.stop()
    line.submit_later(0, "inc-1", "report", lambda: done.append("after the end"))

    assert ["second", "third"] == done
    assert not any(isinstance(each, threading.Timer) for each in threading.enumerate())


def test_the_cheap_part_is_over_when_every_round_said_so_or_ended(pool: ThreadPoolExecutor):
    finish = threading.Event()
    rounds = CaptureRounds(pool)

    def slow(on_cheap) -> None:
        on_cheap()
        finish.wait(5)
        return [capture("cap-1")]

    rounds.start(slow)
    rounds.start(lambda _: [capture("cap-2")])
    rounds.wait_for_cheap(5)

    assert not finish.is_set()
    finish.set()
    assert ["cap-1", "cap-2"] == [each.capture_id for each in rounds.wait()]


def test_the_first_report_does_not_wait_for_ever(pool: ThreadPoolExecutor):
    finish = threading.Event()
    rounds = CaptureRounds(pool)
    rounds.start(lambda _: [capture("cap-1")] if finish.wait(5) else [])

    rounds.wait_for_cheap(0.01)

    finish.set()
    assert 1 == len(rounds.wait())


def test_no_target_means_no_round(pool: ThreadPoolExecutor):
    assert [] == CaptureRounds(pool).wait()


def _drain(line: OneAtATime, key: str) -> None:
    over = threading.Event()
    line.submit(key, "last", over.set)
    assert over.wait(5)
    line.stop()
