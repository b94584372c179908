"""The round against a real Go process: what net/http/pprof really answers."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from diagnose.capture.fetch import Connection
from diagnose.capture.locks import Turns
from diagnose.capture.round import RoundRequest, run_round
from diagnose.capture.wall import poll
from diagnose.model import Capture, Target
from diagnose.pprof.codec import decode
from diagnose.pprof.diff import diff
from diagnose.pprof.filters import without_profiler
from diagnose.pprof.names import is_profiler_itself
from diagnose.pprof.profile import Frame, Profile
from diagnose.store.artefacts import find_artefact
from diagnose.store.captures import captures_of
from diagnose.store.db import Store
from diagnose.store.profiles import profile_body
from tests.pprof.conftest import GO_ENVIRONMENT

SOURCE = Path(__file__).parent / "goprograms" / "sick"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sick") / "sick"
    subprocess.run(["go", "build", "-o", file, "."], cwd=SOURCE, env=GO_ENVIRONMENT, check=True, timeout=300)
    return file


@contextmanager
def started(program: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Target]]:
    with subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        yield process, Target("sick", "sick", "sick-1", url, ("127.0.0.1/32",), {})
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def running(program: Path, *arguments: str) -> Iterator[Target]:
    with started(program, *arguments) as (_, target):
        yield target


def run(
    store: Store, target: Target, *kinds: str, seconds: int = 1, incident: str = "inc-1", turns: Turns | None = None
) -> dict[tuple[str, str], Capture]:
    captures = run_round(
        store,
        target,
        RoundRequest(incident, "alert", kinds, seconds),
        on_cheap=lambda: None,
        stop=threading.Event(),
        turns=turns or Turns(),
        back_off_s=(0.05, 0.05, 0.05),
    )
    return {(capture.kind, capture.phase): capture for capture in captures}


def answers(target: Target) -> dict[str, int]:
    """How often the process answered what, by path and status."""
    with urllib.request.urlopen(target.pprof_url.removesuffix("/debug/pprof") + "/answers", timeout=10) as response:
        return dict(json.loads(response.read()))


def profile_of(store: Store, capture: Capture) -> Profile:
    assert capture.profile_id is not None, capture.reason
    return decode(profile_body(store, capture.profile_id))


def functions(profile: Profile, trace: str = "") -> set[str]:
    found = [each for each in profile.samples if each.labels.get("trace_id", "") == trace or not trace]
    return {frame.function for sample in found for frame in sample.frames}


def test_every_kind_of_a_real_process_shows_its_fault(store, program):
    with running(program) as target:
        captures = run(store, target, "goroutine", "heap", "mutex", "block", "cpu", "wall")

    assert {"done"} == {capture.status for capture in captures.values()}, captures
    assert "main.burnCPU" in functions(profile_of(store, captures["cpu", "first"]), "a" * 32)
    assert "main.waitForever" in functions(profile_of(store, captures["goroutine", "first"]), "b" * 32)
    assert "main.waitForever" in functions(profile_of(store, captures["wall", "first"]), "b" * 32)
    assert "main.holdLock" in functions(profile_of(store, captures["mutex", "again"]))
    assert "main.holdLock" in functions(profile_of(store, captures["block", "again"]))
    growth = store.row("SELECT profile_id FROM profile WHERE kind = 'heap' AND basis = 'interval'")
    assert "main.retain" in functions(decode(profile_body(store, growth["profile_id"])))


def test_a_process_that_is_being_profiled_is_seen_by_polling(store, program):
    with running(program, "profiled") as target:
        captures = run(store, target, "cpu")

    assert ("refused", 500) == (captures["cpu", "first"].status, captures["cpu", "first"].http_status)
    assert "main.burnCPU" in functions(profile_of(store, captures["wall", "first"]))


def test_two_alerts_at_once_on_a_real_process_ask_it_once(store, program):
    """Whichever comes second waits and has the evidence of the first: the profiler never says that it is in use."""
    turns = Turns()
    with running(program) as target, ThreadPoolExecutor(2) as pool:
        rounds = [
            pool.submit(run, store, target, "goroutine", "heap", "cpu", incident=incident, turns=turns)
            for incident in ("inc-1", "inc-2")
        ]
        first, second = (each.result() for each in rounds)
        answered = answers(target)

    assert 1 == answered["/debug/pprof/profile 200"]
    assert not [path for path in answered if path.endswith(" 500")]
    assert {"done"} == {capture.status for capture in [*first.values(), *second.values()]}
    assert first.keys() == second.keys()
    assert all(first[step].profile_id == second[step].profile_id for step in first)
    assert "main.burnCPU" in functions(profile_of(store, second["cpu", "first"]))


def test_a_process_killed_in_mid_capture_leaves_what_was_fetched_and_a_reason(store, program):
    with started(program) as (process, target), ThreadPoolExecutor(1) as pool:
        going_on = pool.submit(run, store, target, "goroutine", "heap", "cpu", seconds=60)
        wait_until(lambda: "cpu" in running_kinds(store))
        process.kill()
        captures = going_on.result(timeout=30)

    assert {"done"} == {captures[kind, "first"].status for kind in ("goroutine", "heap")}
    assert "main.waitForever" in functions(profile_of(store, captures["goroutine", "first"]))
    cpu = captures["cpu", "first"]
    assert ("failed", None) == (cpu.status, cpu.profile_id)
    assert cpu.reason
    assert all(each.reason for each in captures.values() if each.status == "failed")
    assert list(captures.values()) == captures_of(store, "inc-1")


def running_kinds(store: Store) -> set[str]:
    return {each.kind for each in captures_of(store, "inc-1") if each.status == "running"}


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_polling_does_not_change_what_a_cpu_profile_says(store, program):
    """Five thousand goroutines make a snapshot cost something; the shares, diffs and findings are those without it."""
    with running(program, "crowd") as target:
        alone = profile_of(store, run(store, target, "cpu", seconds=3)["cpu", "first"])
        with Connection(target) as connection, ThreadPoolExecutor(1) as pool:
            polling = pool.submit(poll, connection, seconds=3, pause=lambda pause_s: bool(time.sleep(pause_s)), cost=5)
            polled = profile_of(store, run(store, target, "cpu", seconds=3, incident="inc-2")["cpu", "first"])
            polling.result()

    assert any(is_profiler_itself(sample.frames) for sample in polled.samples)
    changes = diff(alone, polled, by="cum")
    assert [] == [each for each in changes.functions if each.significant and each.name.startswith("main.")]
    assert not any(is_profiler_itself([Frame(each.name)]) for each in changes.functions)
    shares = [burning / whole for burning, whole in map(burned, (alone, polled))]
    assert pytest.approx(shares[0], abs=0.1) == shares[1]


def burned(profile: Profile) -> tuple[int, int]:
    """CPU below main.burnCPU and all of it, without what taking profiles cost."""
    kept = without_profiler(profile)
    burning = kept.where(lambda sample: any(frame.function == "main.burnCPU" for frame in sample.frames))
    return burning.total(), kept.total()


def test_a_process_that_uses_every_processor_still_names_its_function(store, program):
    with running(program, "saturated") as target:
        cpu = run(store, target, "goroutine", "cpu", "wall", seconds=3)["cpu", "first"]

    assert "done" == cpu.status
    burning, whole = burned(profile_of(store, cpu))
    assert burning > 0.5 * whole


def test_an_execution_trace_of_a_real_process_is_kept(store, program):
    with running(program) as target:
        trace = run(store, target, "trace")["trace", "first"]

    assert "done" == trace.status, trace.reason
    assert find_artefact(store, trace.capture_id).read_bytes().startswith(b"go 1.")
