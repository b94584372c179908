"""
Flat and cumulative values per function, and who calls whom, exactly as `go tool pprof -top` and `-peek` count them.

Functions are told apart by name alone. Flat is what was measured while the function itself was on top of the stack
(inlined functions count as themselves); cum while it was anywhere in the stack, once per sample however often it
recurs.

    samples  main.fib main.fib main.main: 3        flat fib 3, main 2
             main.main:                   2        cum  fib 3, main 5
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from diagnose.pprof.profile import Frame, Profile, ValueType

By = Literal["flat", "cum"]


@dataclass(frozen=True, slots=True)
class FunctionValue:
    """One function's values, in the unit of the value type. `file` is where the function was first seen."""

    name: str
    file: str
    flat: int
    cum: int


@dataclass(frozen=True, slots=True)
class Top:
    """Functions ordered by the chosen column, largest first. `total` is the sum over all samples."""

    value_type: ValueType
    total: int
    functions: tuple[FunctionValue, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """What a caller and a callee share. `inlined`: wherever the two met, the callee was inlined into the caller."""

    name: str
    value: int
    inlined: bool


@dataclass(frozen=True, slots=True)
class Peek:
    """A function with its direct callers and callees, largest first. A call of itself is not listed."""

    function: FunctionValue
    callers: tuple[Edge, ...]
    callees: tuple[Edge, ...]


def top(profile: Profile, value_type: str | None = None, *, by: By = "flat", limit: int = 0) -> Top:
    """
    The functions of *profile* by one value type (None: its default); *limit* 0 means all.

    Samples whose value is 0 do not count, so functions that occur only there are missing, as in pprof. Raises KeyError
    for a value type the profile does not have.
    """
    index = profile.value_index(value_type)
    functions = function_values(stack_values(profile, index))
    ordered = sorted(functions.values(), key=lambda function: (*_largest_first(function, by), function.name))
    return Top(profile.sample_types[index], profile.total(value_type), tuple(ordered[:limit] if limit else ordered))


def _largest_first(function: FunctionValue, by: By) -> tuple[int, int]:
    flat, cum = -abs(function.flat), -abs(function.cum)
    return (flat, cum) if by == "flat" else (cum, flat)


def stack_values(profile: Profile, index: int) -> list[tuple[tuple[Frame, ...], int]]:
    """(frames, value) of the samples that have a value, those with the same `frames` object added up."""
    totals: dict[int, int] = defaultdict(int)
    stacks: dict[int, tuple[Frame, ...]] = {}
    for sample in profile.samples:
        if sample.values[index]:
            totals[id(sample.frames)] += sample.values[index]
            stacks[id(sample.frames)] = sample.frames
    return [(stacks[key], value) for key, value in totals.items()]


def function_values(stacks: Iterable[tuple[tuple[Frame, ...], int]]) -> dict[str, FunctionValue]:
    """Flat and cum by function name; functions where both cancel out are left out."""
    flat: dict[str, int] = defaultdict(int)
    cum: dict[str, int] = defaultdict(int)
    files: dict[str, str] = {}
    for frames, value in stacks:
        if frames:
            flat[frames[0].function] += value
        for name, file in {frame.function: frame.file for frame in reversed(frames)}.items():
            cum[name] += value
            files.setdefault(name, file)
    return {
        name: FunctionValue(name, files[name], flat[name], value) for name, value in cum.items() if value or flat[name]
    }


def peek(profile: Profile, pattern: str, value_type: str | None = None) -> list[Peek]:
    """The functions whose name *pattern* is found in, largest cum first. Raises re.error and KeyError."""
    search = re.compile(pattern).search
    stacks = stack_values(profile, profile.value_index(value_type))
    edges = _edges(stacks)
    callers: dict[str, list[Edge]] = defaultdict(list)
    callees: dict[str, list[Edge]] = defaultdict(list)
    for (caller, callee), (value, inlined) in edges.items():
        callers[callee].append(Edge(caller, value, inlined))
        callees[caller].append(Edge(callee, value, inlined))
    found = [function for name, function in function_values(stacks).items() if search(name)]
    found.sort(key=lambda function: (-abs(function.cum), function.name))
    return [Peek(each, _ordered(callers[each.name]), _ordered(callees[each.name])) for each in found]


def _ordered(edges: list[Edge]) -> tuple[Edge, ...]:
    return tuple(sorted(edges, key=lambda edge: (-abs(edge.value), edge.name)))


def _edges(stacks: Iterable[tuple[tuple[Frame, ...], int]]) -> Mapping[tuple[str, str], tuple[int, bool]]:
    """(caller, callee) → (value, inlined); a pair counts once per stack."""
    edges: dict[tuple[str, str], tuple[int, bool]] = {}
    for frames, value in stacks:
        for pair, inlined in _pairs(frames).items():
            before, always_inlined = edges.get(pair, (0, True))
            edges[pair] = (before + value, always_inlined and inlined)
    return edges


def _pairs(frames: tuple[Frame, ...]) -> dict[tuple[str, str], bool]:
    """As pprof, the pair nearest to the root says whether it was inlined."""
    pairs: dict[tuple[str, str], bool] = {}
    for at in range(len(frames) - 1, 0, -1):
        pair = (frames[at].function, frames[at - 1].function)
        if pair[0] != pair[1]:
            pairs.setdefault(pair, frames[at - 1].inlined)
    return pairs
