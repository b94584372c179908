"""
Profiles to measure with, the same bytes every time they are made.

    synthetic   one big CPU profile over a random call tree: 46 frames deep, 30,000 locations, 10,000 functions
    series      many CPU profiles of one service: 6,000 stacks of which each meets some, hot ones again and again;
                a trace id, a span id and a route on nine rows of ten
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from itertools import accumulate

from diagnose.pprof.proto import profile_pb2 as pb

TICK_NS = 10_000_000
START_NS = 1_795_478_454_000_000_000
DEEPEST = 62


class _Program:
    """Functions, locations and a call tree, written into one message."""

    def __init__(self, chance: random.Random, *, functions: int, locations: int, nodes: int) -> None:
        self.chance = chance
        self.message = pb.Profile(period=TICK_NS, time_nanos=START_NS, duration_nanos=10_000_000_000)
        self.strings: dict[str, int] = {}
        self.string("")
        self._head()
        for number in range(1, functions + 1):
            self._function(number)
        for number in range(1, locations + 1):
            self._location(number, functions)
        self.parents, self.depths = [-1], [1]
        self.places = [1]
        for _ in range(nodes):
            self._node(locations)

    def string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def finished(self) -> bytes:
        self.message.string_table.extend(text.encode() for text in self.strings)
        return gzip.compress(self.message.SerializeToString(), 6, mtime=0)

    def stack(self, node: int) -> list[int]:
        path = []
        while node >= 0:
            path.append(self.places[node])
            node = self.parents[node]
        return path

    def deep_nodes(self) -> list[int]:
        return [node for node, depth in enumerate(self.depths) if depth >= 12]

    def _head(self) -> None:
        for name, unit in (("samples", "count"), ("cpu", "nanoseconds")):
            self.message.sample_type.add(type=self.string(name), unit=self.string(unit))
        self.message.period_type.CopyFrom(self.message.sample_type[1])
        binary, build = self.string("/usr/local/bin/checkout"), self.string("deadbeef")
        self.message.mapping.add(id=1, filename=binary, build_id=build, has_functions=True)

    def _function(self, number: int) -> None:
        package = f"github.com/acme/shop/internal/pkg{number % 400:03d}"
        name = self.string(f"{package}.(*Type{number % 1500}).Method{number}")
        file = self.string(f"/src/{package}/file{number % 2000}.go")
        self.message.function.add(id=number, name=name, system_name=name, filename=file, start_line=10 + number % 900)

    def _location(self, number: int, functions: int) -> None:
        location = self.message.location.add(id=number, mapping_id=1, address=0x400000 + number * 17)
        for _ in range(1 if self.chance.random() < 0.85 else self.chance.randint(2, 3)):
            line = self.chance.randint(10, 1500)
            location.line.add(function_id=self.chance.randint(1, functions), line=line)

    def _node(self, locations: int) -> None:
        """Mostly below one of the newest: deep chains, as programs have them."""
        known = len(self.parents)
        near = known - 1 - int(min(known - 1, self.chance.expovariate(1 / 40)))
        parent = near if self.chance.random() < 0.9 else self.chance.randrange(known)
        while self.depths[parent] >= DEEPEST:
            parent = self.chance.randrange(known)
        self.parents.append(parent)
        self.depths.append(self.depths[parent] + 1)
        self.places.append(self.chance.randint(1, locations))


def synthetic(samples: int, *, labelled: bool) -> bytes:
    """One gzipped profile with so many samples, nearly all of different stacks."""
    chance = random.Random(7)  # noqa: S311  the same every time is the point
    program = _Program(chance, functions=10_000, locations=30_000, nodes=samples * 3)
    nodes = program.deep_nodes()
    chance.shuffle(nodes)
    spans = _Spans(chance, 6000)
    for number in range(samples):
        count = 1 + int(chance.expovariate(1))
        sample = program.message.sample.add(value=[count, count * TICK_NS])
        sample.location_id.extend(program.stack(nodes[number % len(nodes)]))
        if labelled:
            spans.label(program, sample)
    return program.finished()


def series(profiles: int, *, rows: int) -> Iterator[tuple[bytes, int]]:
    """So many gzipped profiles of one service, ten seconds apart, each with the sum of its samples."""
    chance = random.Random(11)  # noqa: S311  as above
    program = _Program(chance, functions=1100, locations=2500, nodes=18_000)
    nodes = program.deep_nodes()[:6000]
    weights = list(accumulate(1 / (rank + 20) for rank in range(len(nodes))))
    empty = program.message.SerializeToString()
    strings = dict(program.strings)
    for number in range(profiles):
        program.message = pb.Profile.FromString(empty)
        program.strings = dict(strings)
        program.message.time_nanos = START_NS + number * 10_000_000_000
        spans, total = _Spans(chance, rows // 3), 0
        for node in chance.choices(nodes, cum_weights=weights, k=rows):
            count = 1 + int(chance.expovariate(1))
            total += count
            sample = program.message.sample.add(value=[count, count * TICK_NS])
            sample.location_id.extend(program.stack(node))
            if chance.random() < 0.9:
                spans.label(program, sample)
        yield program.finished(), total


class _Spans:
    """Trace and span ids as a service makes them; three spans a trace."""

    def __init__(self, chance: random.Random, spans: int) -> None:
        self.chance = chance
        self.traces = [f"{chance.getrandbits(128):032x}" for _ in range(spans // 3 + 1)]
        self.spans = [f"{chance.getrandbits(64):016x}" for _ in range(spans)]

    def label(self, program: _Program, sample: pb.Sample) -> None:
        at = self.chance.randrange(len(self.spans))
        labels = {
            "trace_id": self.traces[at // 3],
            "span_id": self.spans[at],
            "route": f"/api/v1/route{at % 20}",
        }
        for key, text in labels.items():
            sample.label.add(key=program.string(key), str=program.string(text))


BOMBS = {
    "300 MB of zeros": lambda: gzip.compress(bytes(300 * 2**20), 1),
    "40 million value types": lambda: gzip.compress(bytes([0x0A, 0]) * (40 * 2**20), 1),
    "20 million samples": lambda: gzip.compress(bytes([0x12, 0]) * (20 * 2**20), 1),
    "one stack of 10 million locations": lambda: gzip.compress(_deep_stack(10 * 2**20), 1),
    "200 million frames in 20,000 samples": lambda: gzip.compress(_wide_locations(10_000, 20_000)),
    "a gzip in a gzip in a gzip": lambda: gzip.compress(gzip.compress(gzip.compress(bytes(64 * 2**20), 1))),
}


def _deep_stack(depth: int) -> bytes:
    profile = _one_function()
    profile.sample.add(value=[1]).location_id.extend([1] * depth)
    return profile.SerializeToString()


def _wide_locations(lines: int, samples: int) -> bytes:
    """Each sample has one location, and that has very many inlined functions."""
    profile = _one_function()
    for number in range(lines):
        profile.location[0].line.add(function_id=1, line=number)
    for number in range(samples):
        profile.location.add(id=number + 2).line.add(function_id=1, line=number)
        profile.sample.add(value=[1]).location_id.extend([1, number + 2])
    return profile.SerializeToString()


def _one_function() -> pb.Profile:
    profile = pb.Profile(string_table=[b"", b"samples", b"count", b"main.main"])
    profile.sample_type.add(type=1, unit=2)
    profile.function.add(id=1, name=3)
    profile.location.add(id=1).line.add(function_id=1)
    return profile


def mutated(body: bytes, chance: random.Random) -> bytes:
    """A damaged copy of a gzipped profile: some bytes changed, removed, repeated, or the file cut off."""
    if chance.random() < 0.1:
        return _damaged(body, chance)  # the gzip itself
    return gzip.compress(_damaged(gzip.decompress(body), chance), 1)


def _damaged(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(damaged))
        kind = chance.randrange(5)
        if kind == 0:
            damaged[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            damaged[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del damaged[at : at + chance.randint(1, 20)]
        elif kind == 3:
            damaged[at:at] = damaged[at : at + chance.randint(1, 40)]
        else:
            damaged[at:at] = chance.randbytes(chance.randint(1, 10))
        if not damaged:
            return b"\0"
    return bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.05 else damaged)
