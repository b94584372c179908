"""
Two absolute snapshots of a profile that only grows → what happened between them.

Go's mutex, block and alloc values count since the process started. Its own `?seconds=N` subtracts the live heap too and
so spoils it; two snapshots subtracted here give both: allocations in between, and growth of the heap, negative where
memory was given back.
"""

from __future__ import annotations

from dataclasses import replace

from diagnose.pprof.profile import Profile, Sample

_Key = tuple[object, ...]


def subtract(after: Profile, before: Profile) -> Profile:
    """
    *after* minus *before*, per identical stack, labels and numbers; samples where nothing is left are dropped.

    The result covers the time between the two. Negative values are kept. Raises ValueError when the value types differ.

        before  main.load alloc 100 inuse 100        after  main.load alloc 130 inuse 40
        result  main.load alloc  30 inuse -60
    """
    if after.sample_types != before.sample_types:
        raise ValueError("the two profiles have different value types")
    values: dict[_Key, tuple[int, ...]] = {}
    firsts: dict[_Key, Sample] = {}
    for profile, sign in ((after, 1), (before, -1)):
        for sample in profile.samples:
            key = _key(sample)
            firsts.setdefault(key, sample)
            known = values.get(key, (0,) * len(sample.values))
            values[key] = tuple(total + sign * value for total, value in zip(known, sample.values, strict=True))
    left = (replace(firsts[key], values=total) for key, total in values.items() if any(total))
    return replace(
        after, samples=tuple(left), time_ns=before.time_ns, duration_ns=max(0, after.time_ns - before.time_ns)
    )


def _key(sample: Sample) -> _Key:
    return (sample.frames, tuple(sorted(sample.labels.items())), tuple(sorted(sample.numbers.items())))
