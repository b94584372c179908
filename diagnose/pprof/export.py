"""Profile → what other tools read: folded stacks, speedscope JSON. For pprof, `codec.encode` a filtered profile."""

from __future__ import annotations

import json
from collections.abc import Iterable

from diagnose.pprof.profile import Frame, Profile
from diagnose.pprof.top import stack_values

SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
SPEEDSCOPE_UNITS = {"nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}
NO_FRAMES = "(no frames)"


def folded(profile: Profile, value_type: str | None = None) -> str:
    """
    One line per stack, root first, as flame graph scripts read it: `main.main;main.work 20`, sorted.

    The value is in the value type's unit. Semicolons and line breaks inside names become `:` and a space.
    """
    totals: dict[str, int] = {}
    for frames, value in stack_values(profile, profile.value_index(value_type)):
        path = ";".join(_one_word(frame.function) for frame in reversed(frames)) or NO_FRAMES
        totals[path] = totals.get(path, 0) + value
    return "".join(f"{path} {value}\n" for path, value in sorted(totals.items()) if value)


def _one_word(name: str) -> str:
    return " ".join(name.replace(";", ":").split())


def speedscope(profile: Profile, value_type: str | None = None, *, name: str = "profile") -> str:
    """
    The file format of speedscope.app: a `sampled` profile whose weights are in the value type's unit.

    Stacks with a negative value (a difference) cannot be shown there and are left out.
    Source: the schema named in the file.
    """
    index = profile.value_index(value_type)
    unit = profile.sample_types[index].unit
    stacks = [(frames, value) for frames, value in stack_values(profile, index) if value > 0]
    positions = _positions(frames for frames, _ in stacks)
    weights = [value for _, value in stacks]
    content = {
        "$schema": SPEEDSCOPE_SCHEMA,
        "exporter": "diagnose",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {"frames": [_speedscope_frame(frame) for frame in positions]},
        "profiles": [
            {
                "type": "sampled",
                "name": str(profile.sample_types[index]),
                "unit": unit if unit in SPEEDSCOPE_UNITS else "none",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": [[positions[frame] for frame in reversed(frames)] for frames, _ in stacks],
                "weights": weights,
            }
        ],
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _positions(stacks: Iterable[tuple[Frame, ...]]) -> dict[Frame, int]:
    positions: dict[Frame, int] = {}
    for frames in stacks:
        for frame in frames:
            positions.setdefault(frame, len(positions))
    return positions


def _speedscope_frame(frame: Frame) -> dict[str, str | int]:
    entry: dict[str, str | int] = {"name": frame.function}
    if frame.file:
        entry["file"] = frame.file
    if frame.line > 0:
        entry["line"] = frame.line
    return entry
