"""
The bytes of a profile → what is stored of it: what it says about itself, and its samples as Arrow tables.

This is the part of an import that a damaged or hostile file can make expensive, so the service runs it in a process of
its own (pool.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diagnose.pprof.arrays import first_places
from diagnose.pprof.codec import MAX_INFLATED_BYTES, inflate, serialise
from diagnose.pprof.columns import ProfileColumns, columns_of
from diagnose.pprof.hashtable import HashTable
from diagnose.pprof.kinds import NEAR_LEAF, UNLOCKING, kind_of
from diagnose.pprof.profile import Profile, ValueType
from diagnose.pprof.stacks import Program, read_program
from diagnose.pprof.wire import Wire, read_wire


@dataclass(frozen=True)
class Parsed:
    """
    One profile, ready to be stored. `default_value` is a position in `value_types`; `totals` are the sums over all
    samples, one for each of these; `without_frames` is the first one over the samples without any frame; `kind` is a
    guess.
    """

    kind: str
    value_types: tuple[ValueType, ...]
    totals: tuple[int, ...]
    without_frames: int
    default_value: int
    period: int
    time_ns: int
    duration_ns: int
    binary: str
    build_id: str
    columns: ProfileColumns

    @property
    def is_empty(self) -> bool:
        return bool(self.columns.samples.num_rows == 0)


def parse(body: bytes, *, max_inflated_bytes: int = MAX_INFLATED_BYTES, told: HashTable | None = None) -> Parsed:
    """
    Read one profile, gzipped or plain. Raises DecodeError as `codec.decode` does.

    With *told*, the stacks that are in it are left out of the tables but for their ids, and the others are added to it:
    most profiles of a service bring few new stacks, and what these are made of is a third of the work.
    """
    return _parsed(inflate(body, max_inflated_bytes=max_inflated_bytes), told)


def lay_out(profile: Profile) -> Parsed:
    """The same of a profile in memory."""
    return _parsed(serialise(profile))


def to_columns(profile: Profile) -> ProfileColumns:
    return lay_out(profile).columns


def _parsed(raw: bytes, told: HashTable | None = None) -> Parsed:
    wire = read_wire(raw)
    program = read_program(wire)
    columns = columns_of(wire, program, told)
    return Parsed(
        kind=kind_of(wire.value_types, lambda: _all_give_back_locks(program)),
        value_types=wire.value_types,
        totals=tuple(wire.values.sum(axis=0).tolist()),
        without_frames=int(wire.values[np.diff(wire.ends) == 0, 0].sum()),
        default_value=_default_value(wire),
        period=wire.head.period,
        time_ns=wire.head.time_ns,
        duration_ns=wire.head.duration_ns,
        binary=wire.head.binary,
        build_id=wire.head.build_id,
        columns=columns,
    )


def _default_value(wire: Wire) -> int:
    names = [each.type for each in wire.value_types]
    return names.index(wire.head.default_type) if wire.head.default_type in names else len(names) - 1


def _all_give_back_locks(program: Program) -> bool:
    unlocking = np.array([name in UNLOCKING for name in program.functions.names], np.bool_)
    stacks = program.stacks
    places = first_places(unlocking[program.frames.function], stacks.frames, stacks.ends)
    return bool(np.all((places >= 0) & (places < stacks.ends[:-1] + NEAR_LEAF)))
