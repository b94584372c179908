"""The smallest profiles a test can be about."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from diagnose.pprof.profile import Frame, Profile, Sample, ValueType

RECORDED = sorted((Path(__file__).parent.parent / "data" / "pprof").glob("*.pb.gz"))
CPU = (ValueType("samples", "count"), ValueType("cpu", "nanoseconds"))
TICK_NS = 10_000_000


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  the same every time is the point


def frames_of(path: str) -> tuple[Frame, ...]:
    """`main.main > main.work > runtime.memmove` (root first) as frames, leaf first."""
    return tuple(Frame(name, f"{name.rpartition('.')[0]}/file.go", 10) for name in reversed(path.split(" > ")) if name)


def cpu_profile(counts: Mapping[str, int], *, seconds: float = 10, labels: Mapping[str, str] | None = None) -> Profile:
    """A CPU profile from path → number of ticks."""
    samples = tuple(
        Sample(frames_of(path), (count, count * TICK_NS), dict(labels or {})) for path, count in counts.items()
    )
    return Profile(CPU, samples, period_type=CPU[1], period=TICK_NS, duration_ns=int(seconds * 1e9), time_ns=1)


def goroutines(counts: Mapping[str, int], labels: Mapping[str, str] | None = None) -> Profile:
    samples = tuple(Sample(frames_of(path), (count,), dict(labels or {})) for path, count in counts.items())
    return Profile((ValueType("goroutine", "count"),), samples, period_type=ValueType("goroutine", "count"), period=1)


def generated(samples: int, *, functions: int = 2000, seed: int = 7) -> Profile:
    """A big labelled CPU profile over a random call tree, about 50 frames deep, some of them inlined."""
    chance = seeded(seed)
    locations = [_location(chance, functions) for _ in range(functions * 3)]
    parents, depths, places = [-1], [1], [0]
    for _ in range(samples * 3):
        near = len(parents) - 1 - int(min(len(parents) - 1, chance.expovariate(1 / 40)))
        parent = near if chance.random() < 0.9 else chance.randrange(len(parents))
        while depths[parent] >= 62:
            parent = chance.randrange(len(parents))
        parents.append(parent)
        depths.append(depths[parent] + 1)
        places.append(chance.randrange(len(locations)))
    return Profile(
        CPU,
        tuple(_sample(chance, parents, places, locations) for _ in range(samples)),
        period_type=CPU[1],
        period=TICK_NS,
        duration_ns=30_000_000_000,
        time_ns=1,
        binary="/usr/local/bin/checkout",
        build_id="deadbeef",
    )


def _location(chance: random.Random, functions: int) -> tuple[Frame, ...]:
    size = 1 if chance.random() < 0.85 else chance.randint(2, 3)
    numbers = [chance.randrange(functions) for _ in range(size)]
    return tuple(
        Frame(
            f"github.com/acme/shop/pkg{number % 400}.(*Type{number % 150}).Method{number}",
            f"github.com/acme/shop/pkg{number % 400}/file{number % 200}.go",
            chance.randint(10, 1500),
            10 + number % 900,
            inlined=at < size - 1,
        )
        for at, number in enumerate(numbers)
    )


def _sample(chance: random.Random, parents: list[int], places: list[int], locations: list[tuple[Frame, ...]]) -> Sample:
    at, frames = chance.randrange(len(parents)), []
    while at >= 0:
        frames += locations[places[at]]
        at = parents[at]
    count, trace = 1 + int(chance.expovariate(1)), chance.randrange(1, 2000)
    labels = {"trace_id": f"{trace:032x}", "span_id": f"{trace * 3:016x}", "route": f"/api/route{trace % 20}"}
    return Sample(tuple(frames), (count, count * TICK_NS), labels)
