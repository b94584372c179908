from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from diagnose.errors import StoreBusy
from diagnose.periodic import Periodic
from tests.waiting import wait_until

NEVER_S, AT_ONCE_S = 3600.0, 0.001


class Turns:
    """Work that counts its turns; each raises what is next in *errors*."""

    def __init__(self, *errors: Exception) -> None:
        self.count = 0
        self._errors = list(errors)

    def __call__(self) -> None:
        self.count += 1
        if self._errors:
            raise self._errors.pop(0)


@pytest.fixture
def started() -> Iterator[Callable[..., Periodic]]:
    running: list[Periodic] = []

    def start(work: Callable[[], object], every_s: float) -> Periodic:
        running.append(Periodic("test", work, lambda: every_s))
        running[-1].start()
        return running[-1]

    yield start
    for each in running:
        each.stop()


def test_it_takes_turns_until_it_is_stopped(started):
    turns = Turns()
    periodic = started(turns, AT_ONCE_S)
    wait_until(lambda: turns.count >= 3)
    periodic.stop()
    taken = turns.count

    periodic.wake()
    assert not any(each.name == "test" for each in threading.enumerate())
    assert taken == turns.count


@pytest.mark.parametrize("error", [StoreBusy("behind"), RuntimeError("a mistake")])
def test_an_error_is_not_the_end(started, error):
    turns = Turns(error)
    periodic = started(turns, AT_ONCE_S)
    wait_until(lambda: turns.count == 1)
    periodic.wake()

    wait_until(lambda: turns.count >= 2)


def test_who_wakes_it_during_a_turn_gets_another_one(started):
    entered, leave, taken = threading.Event(), threading.Event(), []

    def work() -> None:
        entered.set()
        assert leave.wait(60)
        taken.append(1)

    periodic = started(work, NEVER_S)
    periodic.wake()
    assert entered.wait(60)
    periodic.wake()
    leave.set()

    wait_until(lambda: len(taken) == 2)


def test_stop_waits_for_the_turn_that_runs_and_may_come_twice_or_without_a_start(started):
    entered, taken = threading.Event(), []

    def work() -> None:
        entered.set()
        taken.append(periodic.stopping.wait(60))

    periodic = started(work, NEVER_S)
    periodic.wake()
    assert entered.wait(60)
    periodic.stop()

    assert [True] == taken
    periodic.stop()
    Periodic("never started", work, lambda: NEVER_S).stop()
