from __future__ import annotations

import pytest

from diagnose.pprof.codec import decode, encode
from diagnose.pprof.kinds import guess_kind
from diagnose.pprof.profile import Profile, Sample, ValueType
from diagnose.pprof.subtract import subtract
from diagnose.pprof.wall import combine, state_of
from tests.pprof.small import RECORDED, cpu_profile, frames_of, goroutines

MS = 1_000_000
WAITING = "main.main > main.wait > runtime.chanrecv1 > runtime.chanrecv > runtime.gopark"
ITSELF = "net/http.(*conn).serve > net/http/pprof.Index > runtime/pprof.writeGoroutine"


def test_a_goroutine_weighs_the_time_since_the_previous_snapshot():
    wall = combine(
        [
            (1000 * MS, goroutines({"main.main": 1})),
            (1100 * MS, goroutines({"main.main": 1, WAITING: 2})),
            (1300 * MS, goroutines({WAITING: 2, ITSELF: 1})),
        ]
    )
    wall.profile.check_valid()

    assert [("running", (2, 250 * MS)), ("chan receive", (4, 600 * MS))] == [
        (sample.labels["state"], sample.values) for sample in wall.profile.samples
    ]
    assert 1 == wall.left_out
    assert (850 * MS, 450 * MS) == (wall.profile.time_ns, wall.profile.duration_ns)
    assert ("wall", 1) == (guess_kind(wall.profile), wall.profile.value_index())


def test_labels_stay_apart_and_can_be_written():
    one = goroutines({WAITING: 1}, {"trace_id": "a" * 32})
    two = goroutines({WAITING: 1}, {"trace_id": "b" * 32})
    wall = combine([(1, one), (2, two), (3, one)]).profile

    assert ["a" * 32, "b" * 32] == [sample.labels["trace_id"] for sample in wall.samples]
    assert wall == decode(encode(wall))


def test_a_single_snapshot_weighs_a_tenth_of_a_second():
    assert 100 * MS == combine([(5, goroutines({"main.main": 1}))]).profile.total()


@pytest.mark.parametrize(
    ("snapshots", "reason"),
    [
        ([], "no snapshots"),
        ([(2, goroutines({})), (2, goroutines({}))], "do not rise"),
        ([(1, cpu_profile({}))], "not a goroutine profile"),
    ],
)
def test_what_cannot_be_combined_is_refused(snapshots, reason):
    with pytest.raises(ValueError, match=reason):
        combine(snapshots)


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("", "runnable"),
        ("main.main > main.match", "running"),
        ("main.main > main.Sleep", "running"),
        (WAITING, "chan receive"),
        ("main.f > runtime.chansend1 > runtime.chansend > runtime.gopark", "chan send"),
        ("main.f > runtime.selectgo > runtime.gopark", "select"),
        (
            "main.f > sync.(*Mutex).Lock > internal/sync.runtime_SemacquireMutex > runtime.semacquire1",
            "mutex",
        ),
        ("main.f > sync.(*WaitGroup).Wait > sync.runtime_SemacquireWaitGroup > runtime.semacquire1", "waitgroup"),
        ("main.f > sync.(*WaitGroup).Wait > sync.runtime_Semacquire > runtime.semacquire1", "waitgroup"),
        ("main.f > main.g > runtime.semacquire1 > runtime.gopark", "semacquire"),
        (
            "main.f > net.(*conn).Read > internal/poll.runtime_pollWait > runtime.netpollblock > runtime.gopark",
            "network",
        ),
        ("main.f > time.Sleep > runtime.gopark", "sleep"),
        ("main.f > os.(*File).Write > syscall.write > syscall.Syscall", "syscall"),
        ("os/signal.loop > os/signal.signal_recv > runtime.notetsleepg", "signal"),
        ("main.f > sync.(*Cond).Wait > sync.runtime_notifyListWait > runtime.gopark", "cond"),
        ("main.f > runtime.gopark", "waiting"),
    ],
)
def test_the_state_is_read_from_the_frames_at_the_leaf(path, state):
    assert state == state_of(frames_of(path))


def test_the_states_of_a_real_program_are_all_named(go_profiles):
    snapshot = decode(go_profiles["goroutine"].read_bytes())
    states = {state_of(sample.frames) for sample in snapshot.samples}

    assert {"chan receive", "chan send", "select", "mutex", "waitgroup", "sleep"} <= states


def test_recorded_snapshots_become_a_wall_profile():
    snapshots = [decode(file.read_bytes()) for file in RECORDED if file.name.endswith("-goroutine.pb.gz")]
    wall = combine([(at * 100 * MS, snapshot) for at, snapshot in enumerate(snapshots, start=1)])

    seen = sum(snapshot.total() for snapshot in snapshots)
    assert (seen, True) == (wall.profile.total("samples") + wall.left_out, wall.left_out >= len(snapshots))


HEAP = (ValueType("alloc_space", "bytes"), ValueType("inuse_space", "bytes"))


def heap(at_ns: int, **values: tuple[int, int]) -> Profile:
    return Profile(HEAP, tuple(Sample(frames_of(f"main.{name}"), pair) for name, pair in values.items()), time_ns=at_ns)


def test_cumulative_snapshots_are_subtracted_stack_by_stack():
    grown = subtract(heap(900, load=(130, 40), new=(5, 5), idle=(7, 7)), heap(400, load=(100, 100), idle=(7, 7)))

    assert {"main.load": (30, -60), "main.new": (5, 5)} == {
        sample.frames[0].function: sample.values for sample in grown.samples
    }
    assert (400, 500) == (grown.time_ns, grown.duration_ns)


def test_a_stack_that_vanished_stays_as_a_negative_value():
    assert [(-9, -3)] == [sample.values for sample in subtract(heap(2), heap(1, gone=(9, 3))).samples]


def test_profiles_of_different_kinds_are_not_subtracted():
    with pytest.raises(ValueError, match="different value types"):
        subtract(heap(2), cpu_profile({}))
