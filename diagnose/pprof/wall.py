"""
Goroutine snapshots, polled → one wall-clock profile: where time was spent, waiting included.

A CPU profile cannot see waiting, and a process has only one CPU profiler. `/debug/pprof/goroutine` can be asked again
and again: a goroutine found somewhere at time t is taken to have been there since the previous snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from diagnose.pprof.names import is_profiler_itself, origin_of
from diagnose.pprof.profile import Frame, Profile, Sample, ValueType

STATE = "state"
RUNNABLE = "runnable"
RUNNING = "running"
DEFAULT_INTERVAL_NS = 100_000_000

# What a goroutine is doing, by the function nearest to its leaf that says so. Only frames of the standard library above
# the first other frame are looked at: `main.work` waiting below `time.Sleep` sleeps, `main.Sleep` does not.
STATES: dict[str, str] = {
    "runtime.chanrecv": "chan receive",
    "runtime.chanrecv1": "chan receive",
    "runtime.chanrecv2": "chan receive",
    "runtime.chansend": "chan send",
    "runtime.chansend1": "chan send",
    "runtime.selectgo": "select",
    "runtime.block": "select",  # select {} without cases
    "sync.runtime_SemacquireMutex": "mutex",
    "internal/sync.runtime_SemacquireMutex": "mutex",
    "sync.runtime_SemacquireRWMutex": "mutex",
    "sync.runtime_SemacquireRWMutexR": "mutex",
    "sync.(*Mutex).lockSlow": "mutex",
    "internal/sync.(*Mutex).lockSlow": "mutex",
    "sync.runtime_SemacquireWaitGroup": "waitgroup",
    "sync.(*WaitGroup).Wait": "waitgroup",
    "sync.runtime_notifyListWait": "cond",
    "internal/poll.runtime_Semacquire": "semacquire",
    "internal/poll.runtime_pollWait": "network",
    "runtime.netpollblock": "network",
    "time.Sleep": "sleep",
    "runtime.timeSleep": "sleep",
    "os/signal.signal_recv": "signal",
    "runtime.cgocall": "syscall",
    "syscall.Syscall": "syscall",
    "syscall.Syscall6": "syscall",
    "syscall.RawSyscall": "syscall",
    "syscall.RawSyscall6": "syscall",
    "syscall.syscall": "syscall",
    "syscall.syscall6": "syscall",
    "internal/runtime/syscall.Syscall6": "syscall",
    "internal/runtime/syscall/linux.Syscall6": "syscall",
    "runtime/internal/syscall.Syscall6": "syscall",
    "runtime.gcBgMarkWorker": "gc",
    "runtime.bgsweep": "gc",
    "runtime.bgscavenge": "gc",
    "runtime.gcMarkDone": "gc",
    "runtime.gcStart": "gc",
    "runtime.gcAssistAlloc": "gc",
    "runtime.runfinq": "finalizer",
    "runtime.runFinalizers": "finalizer",
}
SEMACQUIRE = "runtime.semacquire"  # what is left when no name above says for which lock
PARKED = "runtime.gopark"


@dataclass(frozen=True, slots=True)
class WallProfile:
    """The combined profile; how many goroutine observations of the profiler itself were left out of it."""

    profile: Profile
    left_out: int


def state_of(frames: Sequence[Frame]) -> str:
    """
    What a goroutine with this stack is doing, from STATES; without any frame it waits for a processor: `runnable`.

        runtime.gopark, runtime.chanrecv, runtime.chanrecv1, main.wait      chan receive
        runtime.gopark, runtime.goparkunlock, main.wait                     waiting (parked, but the table does not say)
        main.match, main.main                                               running
    """
    if not frames:
        return RUNNABLE
    for frame in frames:
        if frame.function in STATES:
            return STATES[frame.function]
        if not origin_of(frame.function, frame.file).is_std:
            break
    if any(frame.function.startswith(SEMACQUIRE) for frame in frames[:4]):
        return "semacquire"
    return "waiting" if frames[0].function == PARKED else RUNNING


def combine(snapshots: Sequence[tuple[int, Profile]]) -> WallProfile:
    """
    One profile of kind `wall` from (Unix ns, goroutine profile) pairs, in the order they were taken.

    A goroutine counts 1 `samples` and as many `wall` nanoseconds as passed since the previous snapshot; in the first
    one as many as the median interval (a single snapshot: 0.1 s). Its labels are kept and `state` is added.

    Snapshots at 0, 100 and 300 ms weigh 150, 100 and 200 ms; a goroutine seen in the last two has 300 ms.

    Raises ValueError without snapshots, when their times do not rise, or when one is not a goroutine profile.
    """
    weights = _weights([taken_ns for taken_ns, _ in snapshots])
    merged: dict[tuple[object, ...], list[int]] = {}
    firsts: dict[tuple[object, ...], Sample] = {}
    left_out = 0
    for (_, snapshot), weight_ns in zip(snapshots, weights, strict=True):
        index = _count_index(snapshot)
        for sample in snapshot.samples:
            count = sample.values[index]
            if is_profiler_itself(sample.frames):
                left_out += count
                continue
            key = (sample.frames, tuple(sorted(sample.labels.items())))
            firsts.setdefault(key, sample)
            values = merged.setdefault(key, [0, 0])
            values[0] += count
            values[1] += count * weight_ns
    samples = tuple(_wall_sample(firsts[key], values) for key, values in merged.items())
    return WallProfile(_wall_profile(snapshots, weights, samples), left_out)


def _weights(times_ns: Sequence[int]) -> list[int]:
    if not times_ns:
        raise ValueError("no snapshots")
    intervals = [after - before for before, after in pairwise(times_ns)]
    if any(interval <= 0 for interval in intervals):
        raise ValueError("the times of the snapshots do not rise")
    return [int(median(intervals)) if intervals else DEFAULT_INTERVAL_NS, *intervals]


def _count_index(snapshot: Profile) -> int:
    names = [value_type.type for value_type in snapshot.sample_types]
    if "goroutine" not in names:
        raise ValueError(f"not a goroutine profile: {', '.join(names)}")
    return names.index("goroutine")


def _wall_sample(first: Sample, values: Sequence[int]) -> Sample:
    return Sample(first.frames, tuple(values), {**first.labels, STATE: state_of(first.frames)}, first.numbers)


def _wall_profile(
    snapshots: Sequence[tuple[int, Profile]], weights: Sequence[int], samples: tuple[Sample, ...]
) -> Profile:
    start_ns, first = snapshots[0]
    return Profile(
        sample_types=(ValueType("samples", "count"), ValueType("wall", "nanoseconds")),
        samples=samples,
        default_type="wall",
        period_type=ValueType("wall", "nanoseconds"),
        period=weights[0],
        time_ns=start_ns - weights[0],
        duration_ns=sum(weights),
        binary=first.binary,
        build_id=first.build_id,
        comments=(f"{len(snapshots)} goroutine snapshots",),
    )
