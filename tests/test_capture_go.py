"""The round against a real Go process: what net/http/pprof really answers."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diagnose.capture.locks import Turns
from diagnose.capture.round import RoundRequest, run_round
from diagnose.model import Capture, Target
from diagnose.pprof.codec import decode
from diagnose.pprof.profile import Profile
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
def running(program: Path, *arguments: str) -> Iterator[Target]:
    with subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        yield Target("sick", "sick", "sick-1", url, ("127.0.0.1/32",), {})
        assert process.stdin is not None
        process.stdin.close()


def run(store: Store, target: Target, *kinds: str, seconds: int = 1) -> dict[tuple[str, str], Capture]:
    wanted = RoundRequest("inc-1", "alert", kinds, seconds)
    captures = run_round(
        store,
        target,
        wanted,
        on_cheap=lambda: None,
        stop=threading.Event(),
        turns=Turns(),
        back_off_s=(0.05, 0.05, 0.05),
    )
    return {(capture.kind, capture.phase): capture for capture in captures}


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
