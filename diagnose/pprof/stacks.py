"""
Locations → functions, frames and stacks, each distinct one once.

    location 7 = [bytes.Clone clone.go:12 (inlined), main.add cart.go:40]     two lines
    sample     = locations 7 3  →  stack [bytes.Clone, main.add, main.main]   three frames, leaf first
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnose.errors import DecodeError
from diagnose.pprof.arrays import Block, Positions, by_blocks, dense, places_within, slices
from diagnose.pprof.hashing import Hashes, as_ids, hash_text, mix, placed, sums
from diagnose.pprof.wire import Lines, Texts, Wire

MAX_FRAMES = 32_000_000  # of all stacks together: 200,000 samples of a deep Go program have 11 million
MAX_DEPTH = 65_536  # Go keeps 128 frames, what unwinds recursion in other languages some thousand


@dataclass(frozen=True)
class Functions:
    """One entry per distinct name, file and start line; `of_line` is the function of each line of the file."""

    ids: Hashes
    names: list[str]
    files: list[str]
    start_lines: Positions
    of_line: Positions

    def only(self, chosen: Positions) -> Functions:
        """These, without the lines."""
        places = chosen.tolist()
        names, files = ([texts[place] for place in places] for texts in (self.names, self.files))
        return Functions(self.ids[chosen], names, files, self.start_lines[chosen], self.of_line[:0])


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


@dataclass(frozen=True)
class Program:
    """What a profile says about the program that ran."""

    functions: Functions
    frames: Frames
    stacks: Stacks

    def only(self, chosen: Positions) -> Program:
        """These stacks and what they are made of, without the lines and samples."""
        places, ends = slices(self.stacks.ends, chosen)
        number_of_frame, used = _used(self.stacks.frames[places], len(self.frames.ids))
        number_of_function, functions = _used(self.frames.function[used], len(self.functions.ids))
        frames = Frames(
            self.frames.ids[used],
            number_of_function[self.frames.function[used]],
            self.frames.line[used],
            self.frames.inlined[used],
            self.frames.of_line[:0],
        )
        flat = number_of_frame[self.stacks.frames[places]].astype(np.int32)
        stacks = Stacks(self.stacks.ids[chosen], flat, ends, self.stacks.of_sample[:0])
        return Program(self.functions.only(functions), frames, stacks)


def _used(positions: NDArray[Any], count: int) -> tuple[Positions, Positions]:
    """(a new number for each of *count* things, right for those at *positions*; these, each once and in order)."""
    is_used = np.zeros(count, np.bool_)
    is_used[positions] = True
    return np.cumsum(is_used) - 1, np.flatnonzero(is_used)


def read_program(wire: Wire) -> Program:
    """Raises DecodeError."""
    functions = read_functions(wire.texts, wire.lines)
    frames = read_frames(wire.lines, functions)
    return Program(functions, frames, read_stacks(wire, frames))


def read_functions(texts: Texts, lines: Lines) -> Functions:
    of_line, first = dense(lines.name, lines.file, lines.start_line)
    names, files = texts.list(lines.name[first]), texts.list(lines.file[first])
    start_lines = lines.start_line[first]
    ids = np.array(list(map(_function_id, names, files, start_lines.tolist())), np.uint64)
    return Functions(ids, names, files, start_lines, of_line)


@lru_cache(maxsize=65536)
def _function_id(name: str, file: str, start_line: int) -> int:
    return hash_text(f"{name}\0{file}\0{start_line}")


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
