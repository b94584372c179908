"""
The kinds of profile that can be captured: one row each, and no other module knows the list.

Paths are those of Go's net/http/pprof, below the base URL of a target. `goroutine` is always asked for as protobuf
(debug=0): with 100,000 goroutines the text form (debug=2) stops the program for a second, this one for 30 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Basis = Literal["interval", "snapshot", "since_start"]


@dataclass(frozen=True)
class ProfileKind:
    """
    `basis` says what one answer covers: the time it took (interval), the state now (snapshot), or everything since the
    process began (since_start). A kind that is `sampling` takes as many seconds as it is told to. One that `grows` is
    captured twice and the difference stored. `default_type` is the value type findings and pages look at first.
    """

    name: str
    path: str
    default_type: str
    basis: Basis
    sampling: bool = False
    grows: bool = False
    when_empty: str = ""


PROFILE_KINDS: dict[str, ProfileKind] = {
    kind.name: kind
    for kind in (
        ProfileKind("goroutine", "goroutine", "goroutine", "snapshot"),
        ProfileKind("goroutineleak", "goroutineleak", "goroutineleak", "snapshot"),
        ProfileKind("heap", "heap", "inuse_space", "snapshot", grows=True),
        ProfileKind("allocs", "allocs", "alloc_space", "since_start", grows=True),
        ProfileKind(
            "mutex",
            "mutex",
            "delay",
            "since_start",
            grows=True,
            when_empty="no contention recorded; the program may lack runtime.SetMutexProfileFraction",
        ),
        ProfileKind(
            "block",
            "block",
            "delay",
            "since_start",
            grows=True,
            when_empty="no waits recorded; the program may lack runtime.SetBlockProfileRate",
        ),
        ProfileKind("cpu", "profile", "cpu", "interval", sampling=True),
        # Not an endpoint: goroutine snapshots polled for a while (capture/wall.py).
        ProfileKind("wall", "goroutine", "wall", "interval", sampling=True),
        # Not a profile: kept as a file, taken only where a rule asks for it (megabytes a second).
        ProfileKind("trace", "trace", "", "interval", sampling=True),
    )
}
