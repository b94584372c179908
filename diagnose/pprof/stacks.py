"""
Locations → functions, frames and stacks, each distinct one once.

    location 7 = [bytes.Clone clone.go:12 (inlined), main.add cart.go:40]     two lines
    sample     = locations 7 3  →  stack [bytes.Clone, main.add, main.main]   three frames, leaf first
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import DecodeError
from diagnose.pprof.arrays import Block, Positions, by_blocks, dense, places_within, slices
from diagnose.pprof.hashing import Hashes, as_ids, hash_text, mix, placed, sums
from diagnose.pprof.names import Origin, is_profiler, origin_of
from diagnose.pprof.wire import Lines, Texts, Wire

MAX_FRAMES = 32_000_000  # of all stacks together: 200,000 samples of a deep Go program have 11 million
MAX_DEPTH = 65_536  # Go keeps 128 frames, what unwinds recursion in other languages some thousand


@dataclass(frozen=True)
class Functions:
    """One entry per distinct name, file and start line; `of_line` is the function of each line of the file."""

    ids: Hashes
    names: list[str]
    name_hashes: Hashes
    files: list[str]
    start_lines: Positions
    packages: list[str]
    is_std: NDArray[np.bool_]
    is_runtime: NDArray[np.bool_]
    is_own: NDArray[np.bool_]
    is_profiler: NDArray[np.bool_]
    of_line: Positions


@dataclass(frozen=True)
class Frames:
    """One entry per distinct function, line and whether it is inlined; `of_line` as in Functions."""

    ids: Hashes
    function: Positions
    line: Positions
    inlined: NDArray[np.bool_]
    of_line: Positions


@dataclass(frozen=True)
class Stacks:
    """The frames `frames[ends[i]:ends[i + 1]]` of each distinct stack, leaf first; `of_sample` says whose they are."""

    ids: Hashes
    frames: NDArray[np.int32]
    ends: Positions
    of_sample: Positions

    def only(self, chosen: Positions) -> Stacks:
        """These, without samples."""
        places, ends = slices(self.ends, chosen)
        return Stacks(self.ids[chosen], self.frames[places], ends, self.of_sample[:0])


@dataclass(frozen=True)
class Program:
    """What a profile says about the program that ran."""

    functions: Functions
    frames: Frames
    stacks: Stacks


def read_program(wire: Wire) -> Program:
    """Raises DecodeError."""
    functions = read_functions(wire.texts, wire.lines)
    frames = read_frames(wire.lines, functions)
    return Program(functions, frames, read_stacks(wire, frames))


def read_functions(texts: Texts, lines: Lines) -> Functions:
    of_line, first = dense(lines.name, lines.file, lines.start_line)
    names, files = texts.list(lines.name[first]), texts.list(lines.file[first])
    start_lines = lines.start_line[first]
    known = list(map(_known, names, files, start_lines.tolist()))
    ids, name_hashes, origins, is_profiler = zip(*known, strict=True) if known else ((),) * 4
    packages, is_std, is_runtime, is_own = zip(*origins, strict=True) if known else ((),) * 4
    return Functions(
        ids=np.array(ids, np.uint64),
        names=names,
        name_hashes=np.array(name_hashes, np.uint64),
        files=files,
        start_lines=start_lines,
        packages=list(packages),
        is_std=np.array(is_std, np.bool_),
        is_runtime=np.array(is_runtime, np.bool_),
        is_own=np.array(is_own, np.bool_),
        is_profiler=np.array(is_profiler, np.bool_),
        of_line=of_line,
    )


@lru_cache(maxsize=65536)
def _known(name: str, file: str, start_line: int) -> tuple[int, int, Origin, bool]:
    """(id, hash of the name, origin, whether it belongs to taking a profile) of a function."""
    return hash_text(f"{name}\0{file}\0{start_line}"), hash_text(name), origin_of(name, file), is_profiler(name)


def read_frames(lines: Lines, functions: Functions) -> Frames:
    of_line, first = dense(functions.of_line, lines.line, lines.inlined)
    function, line, inlined = functions.of_line[first], lines.line[first], lines.inlined[first]
    return Frames(
        as_ids(mix(mix(functions.ids[function], line), inlined.astype(np.int64))), function, line, inlined, of_line
    )


def read_stacks(wire: Wire, frames: Frames) -> Stacks:
    """
    Labels split one stack into many samples, so equal lists of locations are found first, and only one of each is
    spelled out. Raises DecodeError when that takes more than MAX_FRAMES, or one is deeper than MAX_DEPTH.
    """
    locations = wire.locations
    of_sample, first = dense(_hashes(lambda part: locations[part].astype(np.uint64), wire.ends))
    line_counts = np.diff(wire.lines.ends)
    lengths = _lengths(wire, first, line_counts)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if ends[-1] > MAX_FRAMES:
        raise DecodeError(f"the stacks have more than {MAX_FRAMES} frames in all", field="sample")
    if len(lengths) and lengths.max() > MAX_DEPTH:
        raise DecodeError(f"a stack has more than {MAX_DEPTH} frames", field="sample")
    flat = np.empty(ends[-1], np.int32)

    def spell_out(block: Block) -> None:
        places, _ = slices(wire.ends, first[block.slices])
        lines, _ = slices(wire.lines.ends, locations[places])
        flat[block.elements] = frames.of_line[lines]

    by_blocks(ends, spell_out)
    ids = as_ids(_hashes(lambda part: frames.ids[flat[part]], ends))
    of_list, first = dense(ids)
    if len(first) < len(ids):
        places, ends = slices(ends, first)
        flat, ids = flat[places], ids[first]
    return Stacks(ids, flat, ends, of_list[of_sample])


def _lengths(wire: Wire, samples: Positions, line_counts: Positions) -> Positions:
    """How many frames the stack of each of these samples has."""

    def count(block: Block) -> Hashes:
        return sums(line_counts[wire.locations[block.elements]].astype(np.uint64), block.ends)

    lengths = _joined(by_blocks(wire.ends, count))
    return np.asarray(lengths[samples].astype(np.int64))


def _hashes(values: Callable[[slice], Hashes], ends: Positions) -> Hashes:
    """The hash of each slice of *values*, which gives a part of them."""

    def hashed(block: Block) -> Hashes:
        return sums(placed(values(block.elements), places_within(block.ends)), block.ends)

    return _joined(by_blocks(ends, hashed))


def _joined(parts: list[Hashes]) -> Hashes:
    """There is none in a profile without samples."""
    return np.concatenate([np.zeros(0, np.uint64), *parts])
