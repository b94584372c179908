"""Which kind of profile a file is, from its value types, and what counts as one observation in it."""

from __future__ import annotations

from math import exp

from diagnose.pprof.profile import Profile, Sample

# The first value type that is present decides.
KINDS_BY_TYPE = {
    "wall": "wall",
    "cpu": "cpu",
    "goroutineleak": "goroutineleak",
    "goroutine": "goroutine",
    "inuse_space": "heap",
    "alloc_space": "heap",
    "threadcreate": "threadcreate",
}
# A mutex profile and a block profile have the same value types; the first is recorded where a lock is given back.
UNLOCKING = frozenset(
    {
        "sync.(*Mutex).Unlock",
        "sync.(*RWMutex).Unlock",
        "sync.(*RWMutex).RUnlock",
        "internal/sync.(*Mutex).Unlock",
        "runtime.unlock",
        "runtime.unlock2",
        "runtime._LostContendedRuntimeLock",
    }
)


def guess_kind(profile: Profile) -> str:
    """
    `cpu`, `heap`, `goroutine`, `goroutineleak`, `wall`, `mutex`, `block`, `threadcreate`, or the last type's name.

    Whoever fetched the profile knows better: mutex and block are told apart by their stacks, an empty one is `mutex`.
    """
    names = {value_type.type for value_type in profile.sample_types}
    for name, kind in KINDS_BY_TYPE.items():
        if name in names:
            return kind
    if {"contentions", "delay"} <= names:
        return "mutex" if all(_gives_back_a_lock(sample) for sample in profile.samples) else "block"
    return profile.sample_types[-1].type


def _gives_back_a_lock(sample: Sample) -> bool:
    return any(frame.function in UNLOCKING for frame in sample.frames[:4])


def observations(profile: Profile, value_type: str | None = None) -> list[float]:
    """
    How many independent observations stand behind each sample, which is what significance is computed from.

    The first value type in `count` as it is (CPU ticks, goroutines seen, contentions). Go scales heap values up to the
    whole program; that is undone with the formula of runtime/pprof (scaleHeapSample): of n objects of size s, sampled
    every *period* bytes, n·(1 − e^(−s/period)) were seen.

        period 524288, 2048 objects in 2 MiB (1 KiB each)  →  2048 · (1 − e^(−1/512)) = 4.0
    """
    names = [each.type for each in profile.sample_types]
    prefix = names[profile.value_index(value_type)].split("_")[0]
    if prefix in ("alloc", "inuse") and f"{prefix}_objects" in names and f"{prefix}_space" in names:
        objects, space = names.index(f"{prefix}_objects"), names.index(f"{prefix}_space")
        return [_seen(sample.values[objects], sample.values[space], profile.period) for sample in profile.samples]
    index = next((at for at, each in enumerate(profile.sample_types) if each.unit == "count"), None)
    return [0.0 if index is None else float(sample.values[index]) for sample in profile.samples]


def _seen(objects: int, space_bytes: int, period_bytes: int) -> float:
    if objects == 0 or space_bytes == 0 or period_bytes <= 1:
        return float(objects)
    return objects * (1 - exp(-abs(space_bytes / objects) / period_bytes))
