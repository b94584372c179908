"""Which kind of profile a file is, from its value types, and what counts as one observation in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from diagnose.pprof.profile import Profile, Sample, ValueType

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
NEAR_LEAF = 4  # frames of a stack in which one of them says that a lock is given back


def guess_kind(profile: Profile) -> str:
    """
    `cpu`, `heap`, `goroutine`, `goroutineleak`, `wall`, `mutex`, `block`, `threadcreate`, or the last type's name.

    Whoever fetched the profile knows better: mutex and block are told apart by their stacks, an empty one is `mutex`.
    """
    return kind_of(profile.sample_types, lambda: all(_gives_back_a_lock(sample) for sample in profile.samples))


def kind_of(value_types: Sequence[ValueType], all_give_back_locks: Callable[[], bool]) -> str:
    """As `guess_kind`; the stacks are looked at only when it depends on them."""
    names = {value_type.type for value_type in value_types}
    for name, kind in KINDS_BY_TYPE.items():
        if name in names:
            return kind
    if {"contentions", "delay"} <= names:
        return "mutex" if all_give_back_locks() else "block"
    return value_types[-1].type


def _gives_back_a_lock(sample: Sample) -> bool:
    return any(frame.function in UNLOCKING for frame in sample.frames[:NEAR_LEAF])


def observations(profile: Profile, value_type: str | None = None) -> list[float]:
    """
    How many independent observations stand behind each sample, which is what significance is computed from.

    The first value type in `count` as it is (CPU ticks, goroutines seen, contentions). Go scales heap values up to the
    whole program; that is undone with the formula of runtime/pprof (scaleHeapSample): of n objects of size s, sampled
    every *period* bytes, n·(1 − e^(−s/period)) were seen.

        period 524288, 2048 objects in 2 MiB (1 KiB each)  →  2048 · (1 − e^(−1/512)) = 4.0
    """
    name = profile.sample_types[profile.value_index(value_type)].type
    values = np.array([sample.values for sample in profile.samples], np.int64).reshape(-1, len(profile.sample_types))
    counts: list[float] = observation_counts(profile.sample_types, values, profile.period, name).tolist()
    return counts


def observation_counts(
    value_types: Sequence[ValueType], values: NDArray[np.int64], period: int, name: str
) -> NDArray[np.float64]:
    """As `observations`, of the value type *name*; *values* has a row per sample and a column per value type."""
    names = [each.type for each in value_types]
    prefix = name.split("_", maxsplit=1)[0]
    if prefix in ("alloc", "inuse") and f"{prefix}_objects" in names and f"{prefix}_space" in names:
        objects, space = values[:, names.index(f"{prefix}_objects")], values[:, names.index(f"{prefix}_space")]
        return _seen(objects.astype(np.float64), np.abs(space.astype(np.float64)), period)
    index = next((at for at, each in enumerate(value_types) if each.unit == "count"), None)
    return np.zeros(len(values)) if index is None else values[:, index].astype(np.float64)


def _seen(objects: NDArray[np.float64], space_bytes: NDArray[np.float64], period_bytes: int) -> NDArray[np.float64]:
    if period_bytes <= 1:
        return objects
    scaled = (objects != 0) & (space_bytes != 0)
    size = np.divide(space_bytes, np.abs(objects), out=np.zeros(len(objects)), where=scaled)
    return np.where(scaled, objects * -np.expm1(-size / period_bytes), objects)
