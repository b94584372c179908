"""
Bytes ↔ Profile. The format is proto/profile.proto, usually gzipped.

Reading refuses what `go tool pprof` refuses (dangling or repeated ids, indexes outside the string table, values that do
not match the types) and never inflates more than it was allowed to.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from itertools import chain
from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError as ProtobufError

from diagnose.errors import DecodeError
from diagnose.pprof.garbage import collector_paused
from diagnose.pprof.profile import Frame, InvalidProfile, Profile, Sample, ValueType
from diagnose.pprof.proto import profile_pb2 as pb

MAX_INFLATED_BYTES = 512 * 1024 * 1024
UNKNOWN = "<unknown>"
_GZIP_MAGIC = b"\x1f\x8b"
_STEP_BYTES = 1024 * 1024


def decode(body: bytes, *, max_inflated_bytes: int = MAX_INFLATED_BYTES) -> Profile:
    """
    Read one profile, gzipped or plain, as sent by a Go process or written by any pprof tool.

    Samples with the same locations share one `frames` tuple, and equal frames are one object: comparing by identity
    first makes later steps cheap. Raises DecodeError, also for a body larger than *max_inflated_bytes* after inflation.
    """
    raw = inflate(body, max_inflated_bytes=max_inflated_bytes)
    message = pb.Profile()
    try:
        message.ParseFromString(raw)
    except ProtobufError as err:
        raise DecodeError(f"not a pprof profile: {err}", field="body") from err
    with collector_paused():
        profile = _Reader(message).profile()
    try:
        profile.check_values()  # its frames are right by construction
    except InvalidProfile as err:
        raise DecodeError(f"not a usable profile: {err}", field="sample") from err
    return profile


def inflate(body: bytes, *, max_inflated_bytes: int) -> bytes:
    """The plain bytes of a gzip (all its members), or *body* itself. Stops as soon as the limit is crossed."""
    if not body:
        raise DecodeError("the profile is empty", field="body")
    if not body.startswith(_GZIP_MAGIC):
        if len(body) > max_inflated_bytes:
            raise DecodeError(f"the profile is larger than {max_inflated_bytes} bytes", field="body")
        return body
    parts: list[bytes] = []
    size = 0
    rest = body
    while rest:
        inflater = zlib.decompressobj(wbits=31)
        while not inflater.eof:
            part = _inflate_step(inflater, rest)
            rest = inflater.unconsumed_tail
            size += len(part)
            if size > max_inflated_bytes:
                raise DecodeError(f"the profile inflates to more than {max_inflated_bytes} bytes", field="body")
            parts.append(part)
        rest = inflater.unused_data
    return b"".join(parts)


def _inflate_step(inflater: zlib._Decompress, data: bytes) -> bytes:
    try:
        part = inflater.decompress(data, _STEP_BYTES)
    except zlib.error as err:
        raise DecodeError(f"the gzip is damaged: {err}", field="body") from err
    if not part and not inflater.eof:
        raise DecodeError("the gzip is cut off", field="body")
    return part


class _HasId(Protocol):
    id: int


Entry = TypeVar("Entry", bound=_HasId)


class _Reader:
    """Resolves the ids and string indexes of one message."""

    def __init__(self, message: pb.Profile) -> None:
        self.message = message
        self.strings = [entry.decode("utf-8", "replace") for entry in message.string_table] or [""]
        self.string_count = len(self.strings)
        if self.strings[0]:
            raise DecodeError("entry 0 of the string table is not empty", field="string_table")
        self.functions = self._by_id(message.function, "function")
        self.mappings = self._by_id(message.mapping, "mapping")
        self.interned: dict[Frame, Frame] = {}
        locations = self._by_id(message.location, "location")
        self.frames_at = {location_id: self._location(location) for location_id, location in locations.items()}
        self.stacks: dict[tuple[int, ...], tuple[Frame, ...]] = {}
        self.number_units: dict[str, str] = {}

    def profile(self) -> Profile:
        message = self.message
        main = message.mapping[0] if message.mapping else pb.Mapping()
        samples = tuple([self._sample(sample) for sample in message.sample])
        return Profile(
            sample_types=tuple(self._value_type(value_type) for value_type in message.sample_type),
            samples=samples,
            default_type=self.string(message.default_sample_type),
            period_type=self._value_type(message.period_type) if message.HasField("period_type") else None,
            period=message.period,
            time_ns=message.time_nanos,
            duration_ns=message.duration_nanos,
            binary=self.string(main.filename),
            build_id=self.string(main.build_id),
            comments=tuple(self.string(index) for index in message.comment),
            doc_url=self.string(message.doc_url),
            drop_frames=self.string(message.drop_frames),
            keep_frames=self.string(message.keep_frames),
            number_units=self.number_units,
        )

    def string(self, index: int) -> str:
        if 0 <= index < self.string_count:
            return self.strings[index]
        raise DecodeError(f"string {index} is outside the table of {self.string_count}", field="string_table")

    def _by_id(self, entries: Sequence[Entry], name: str) -> dict[int, Entry]:
        table = {entry.id: entry for entry in entries}
        if 0 in table:
            raise DecodeError(f"a {name} has the reserved id 0", field=name)
        if len(table) != len(entries):
            raise DecodeError(f"two of the {name}s have the same id", field=name)
        return table

    def _value_type(self, value_type: pb.ValueType) -> ValueType:
        return ValueType(self.string(value_type.type), self.string(value_type.unit))

    def _location(self, location: pb.Location) -> tuple[Frame, ...]:
        if not location.line:
            return (self._intern(Frame(self._unsymbolised(location))),)
        last = len(location.line) - 1
        return tuple(self._frame(location, line, inlined=at < last) for at, line in enumerate(location.line))

    def _frame(self, location: pb.Location, line: pb.Line, *, inlined: bool) -> Frame:
        function = self.functions.get(line.function_id)
        if function is None:
            raise DecodeError(f"location {location.id} names function {line.function_id}: missing", field="location")
        name = self.string(function.name) or self.string(function.system_name) or self._unsymbolised(location)
        return self._intern(Frame(name, self.string(function.filename), line.line, function.start_line, inlined))

    def _intern(self, frame: Frame) -> Frame:
        return self.interned.setdefault(frame, frame)

    def _unsymbolised(self, location: pb.Location) -> str:
        mapping = self.mappings.get(location.mapping_id)
        binary = self.string(mapping.filename) if mapping is not None else ""
        return f"[{binary.rsplit('/', 1)[-1]}]" if binary else UNKNOWN

    def _sample(self, sample: pb.Sample) -> Sample:
        ids = tuple(sample.location_id)
        frames = self.stacks.get(ids)
        if frames is None:
            frames = self.stacks[ids] = self._frames(ids)
        if not sample.label:
            return Sample(frames, tuple(sample.value))
        labels, numbers = self._labels(sample)
        return Sample(frames, tuple(sample.value), labels, numbers)

    def _frames(self, location_ids: tuple[int, ...]) -> tuple[Frame, ...]:
        try:
            return tuple(chain.from_iterable(map(self.frames_at.__getitem__, location_ids)))
        except KeyError as err:
            raise DecodeError(f"a sample names location {err}, which is missing", field="sample") from err

    def _labels(self, sample: pb.Sample) -> tuple[dict[str, str], dict[str, int]]:
        labels: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for label in sample.label:
            text = self.string(label.str)
            if text:
                labels[self.string(label.key)] = text
                continue
            number, unit = label.num, self.string(label.num_unit)
            if number or unit:  # neither text nor number: no label, as in pprof
                numbers[self.string(label.key)] = number
            if unit:
                self.number_units[self.string(label.key)] = unit
        return labels, numbers


def encode(profile: Profile) -> bytes:
    """
    Write *profile* as gzipped profile.proto, readable by `go tool pprof`; `decode` gives back an equal profile.

    The same profile always gives the same bytes. Addresses are gone (a Profile has none): every distinct chain of
    inlined frames becomes one location. Raises InvalidProfile.
    """
    return gzip.compress(serialise(profile), compresslevel=6, mtime=0)


def serialise(profile: Profile) -> bytes:
    """As `encode`, but not gzipped."""
    profile.check_valid()
    return _Writer(profile).message.SerializeToString(deterministic=True)


class _Writer:
    """Builds the message of one profile, numbering strings, functions and locations as they come."""

    def __init__(self, profile: Profile) -> None:
        self.message = pb.Profile()
        self.strings: dict[str, int] = {}
        self.function_ids: dict[tuple[str, str, int], int] = {}
        self.location_ids: dict[tuple[Frame, ...], int] = {}
        self.stacks: dict[int, list[int]] = {}
        self.number_units = profile.number_units
        self.string("")
        self._head(profile)
        for sample in profile.samples:
            self._sample(sample)

    def string(self, text: str) -> int:
        index = self.strings.get(text)
        if index is None:
            index = self.strings[text] = len(self.strings)
            self.message.string_table.append(text.encode("utf-8", "replace"))
        return index

    def _head(self, profile: Profile) -> None:
        message = self.message
        message.sample_type.extend(self._value_type(value_type) for value_type in profile.sample_types)
        if profile.period_type:
            message.period_type.CopyFrom(self._value_type(profile.period_type))
        message.period, message.time_nanos, message.duration_nanos = (
            profile.period,
            profile.time_ns,
            profile.duration_ns,
        )
        message.default_sample_type = self.string(profile.default_type)
        message.comment.extend(self.string(comment) for comment in profile.comments)
        message.doc_url = self.string(profile.doc_url)
        message.drop_frames, message.keep_frames = self.string(profile.drop_frames), self.string(profile.keep_frames)
        main = message.mapping.add(id=1, filename=self.string(profile.binary), build_id=self.string(profile.build_id))
        main.has_functions = main.has_filenames = main.has_line_numbers = main.has_inline_frames = True

    def _value_type(self, value_type: ValueType) -> pb.ValueType:
        return pb.ValueType(type=self.string(value_type.type), unit=self.string(value_type.unit))

    def _sample(self, sample: Sample) -> None:
        location_ids = self.stacks.get(id(sample.frames))
        if location_ids is None:
            location_ids = self.stacks[id(sample.frames)] = self._locations(sample.frames)
        written = self.message.sample.add(location_id=location_ids, value=sample.values)
        for key, value in sorted(sample.labels.items()):
            written.label.add(key=self.string(key), str=self.string(value))
        for key, number in sorted(sample.numbers.items()):
            unit = self.string(self.number_units.get(key, ""))
            written.label.add(key=self.string(key), num=number, num_unit=unit)

    def _locations(self, frames: tuple[Frame, ...]) -> list[int]:
        location_ids: list[int] = []
        start = 0
        for end, frame in enumerate(frames, start=1):
            if not frame.inlined:
                location_ids.append(self._location(frames[start:end]))
                start = end
        return location_ids

    def _location(self, frames: tuple[Frame, ...]) -> int:
        location_id = self.location_ids.get(frames)
        if location_id is None:
            location_id = self.location_ids[frames] = len(self.location_ids) + 1
            location = self.message.location.add(id=location_id, mapping_id=1)
            for frame in frames:
                location.line.add(function_id=self._function(frame), line=frame.line)
        return location_id

    def _function(self, frame: Frame) -> int:
        key = (frame.function, frame.file, frame.start_line)
        function_id = self.function_ids.get(key)
        if function_id is None:
            function_id = self.function_ids[key] = len(self.function_ids) + 1
            name = self.string(frame.function)
            self.message.function.add(
                id=function_id,
                name=name,
                system_name=name,
                filename=self.string(frame.file),
                start_line=frame.start_line,
            )
        return function_id
