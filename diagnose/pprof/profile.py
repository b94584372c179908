"""
What a profile is: samples over stacks of named frames, each with one value per value type.

Locations, mappings and string tables of the file format (proto/profile.proto) are gone here: a sample carries its
frames, inlined ones included. Values keep the unit the file gave them (`ValueType.unit`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace


class InvalidProfile(ValueError):
    """A profile breaks one of the rules of `Profile.check_valid`."""


@dataclass(frozen=True, slots=True)
class ValueType:
    """What one number of a sample means: `cpu` in `nanoseconds`, `inuse_space` in `bytes`, `samples` in `count`."""

    type: str
    unit: str

    def __str__(self) -> str:
        return f"{self.type}/{self.unit}"


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One function in a stack, with the line being executed. Lines are 0 when unknown.

    `inlined` means the compiler put this function into its caller, which is the next frame towards the root. A frame
    without symbols is named after its binary, `[libc.so.6]`, or `<unknown>`, as `go tool pprof` prints it.
    """

    function: str
    file: str = ""
    line: int = 0
    start_line: int = 0
    inlined: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One stack and what was measured there.

    `frames` run from the leaf to the root and may be empty (a goroutine that has not run yet). `values` has one entry
    per `Profile.sample_types`; negative ones are normal in a difference. `labels` are the program's own (`pprof.Do`),
    `numbers` the numeric ones (`bytes` in a heap profile); of a repeated key the last wins.
    """

    frames: tuple[Frame, ...]
    values: tuple[int, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """
    A whole profile. `time_ns` is Unix time of its start, `period` the events between samples in `period_type.unit`.

    `number_units` gives the unit of a numeric label by key where the file says one.
    """

    sample_types: tuple[ValueType, ...]
    samples: tuple[Sample, ...] = ()
    default_type: str = ""
    period_type: ValueType | None = None
    period: int = 0
    time_ns: int = 0
    duration_ns: int = 0
    binary: str = ""
    build_id: str = ""
    comments: tuple[str, ...] = ()
    doc_url: str = ""
    drop_frames: str = ""
    keep_frames: str = ""
    number_units: Mapping[str, str] = field(default_factory=dict)

    def value_index(self, name: str | None = None) -> int:
        """
        The position of value type *name* in `Sample.values`.

        None means the default: `default_type` when the profile has it, otherwise the last, as in `go tool pprof`.
        Raises KeyError, whose text lists the names there are.
        """
        names = [value_type.type for value_type in self.sample_types]
        if name is None:
            return names.index(self.default_type) if self.default_type in names else len(names) - 1
        if name not in names:
            raise KeyError(f"no value type {name!r}; the profile has {', '.join(names)}")
        return names.index(name)

    def total(self, name: str | None = None) -> int:
        """The sum of one value type over all samples."""
        index = self.value_index(name)
        return sum(sample.values[index] for sample in self.samples)

    def where(self, keep: Callable[[Sample], bool]) -> Profile:
        """The same profile with only the samples that *keep* accepts."""
        return replace(self, samples=tuple(sample for sample in self.samples if keep(sample)))

    def with_samples(self, samples: Iterable[Sample]) -> Profile:
        return replace(self, samples=tuple(samples))

    def check_valid(self) -> None:
        """
        Raise InvalidProfile unless: there is a value type, their names are distinct and not empty, every sample has one
        value per type, every frame has a name, and every inlined frame is followed by the caller it was inlined into.
        """
        self.check_values()
        checked: set[int] = set()
        for number, sample in enumerate(self.samples):
            if id(sample.frames) not in checked:
                _check_frames(number, sample.frames)
                checked.add(id(sample.frames))

    def check_values(self) -> None:
        """The first half of `check_valid`: types and number of values."""
        names = [value_type.type for value_type in self.sample_types]
        if not names or "" in names:
            raise InvalidProfile("a profile needs at least one value type, each with a name")
        if len(set(names)) != len(names):
            raise InvalidProfile(f"value types repeat: {', '.join(names)}")
        for number, sample in enumerate(self.samples):
            if len(sample.values) != len(names):
                raise InvalidProfile(f"sample {number} has {len(sample.values)} values for {len(names)} value types")

    def dump(self) -> str:
        """
        The whole profile as text, equal for equal profiles: a head, then one block per sample, leaf first.

            types: samples/count cpu/nanoseconds*
            period: 10000000 cpu/nanoseconds
            [1 10000000] trace_id=4bf9… bytes=48
              main.match match.go:88 (from 80) inlined
              main.main main.go:12 (from 9)
        """
        default = self.value_index()
        types = [f"{value_type}{'*' * (index == default)}" for index, value_type in enumerate(self.sample_types)]
        lines = ["types: " + " ".join(types)]
        lines += [f"period: {self.period} {self.period_type}"] if self.period_type else []
        for name in ("time_ns", "duration_ns", "binary", "build_id", "doc_url", "drop_frames", "keep_frames"):
            if getattr(self, name):
                lines.append(f"{name}: {getattr(self, name)}")
        lines += [f"comment: {comment}" for comment in self.comments]
        lines += [f"unit of {key}: {unit}" for key, unit in sorted(self.number_units.items())]
        for sample in self.samples:
            lines += _dump_sample(sample)
        return "\n".join(lines) + "\n"


def _check_frames(number: int, frames: tuple[Frame, ...]) -> None:
    if frames and frames[-1].inlined:
        raise InvalidProfile(f"sample {number}: the root {frames[-1].function} cannot be inlined into anything")
    if any(not frame.function for frame in frames):
        raise InvalidProfile(f"sample {number} has a frame without a name")


def _dump_sample(sample: Sample) -> list[str]:
    labels = [f"{key}={value}" for key, value in sorted(sample.labels.items())]
    numbers = [f"{key}={number}" for key, number in sorted(sample.numbers.items())]
    values = "[" + " ".join(map(str, sample.values)) + "]"
    return [" ".join([values, *labels, *numbers]), *(f"  {_dump_frame(frame)}" for frame in sample.frames)]


def _dump_frame(frame: Frame) -> str:
    inlined = " inlined" if frame.inlined else ""
    return f"{frame.function} {frame.file}:{frame.line} (from {frame.start_line}){inlined}"
