"""Profile → Profile functions that keep some of the samples. None of them changes a sample."""

from __future__ import annotations

import re

from diagnose.pprof.names import is_profiler_itself, trace_and_span
from diagnose.pprof.profile import Frame, Profile


def focus(profile: Profile, pattern: str) -> Profile:
    """Samples with a function or file that *pattern* is found in, as `-focus`. Raises re.error."""
    search = re.compile(pattern).search
    verdicts: dict[int, bool] = {}

    def matches(frames: tuple[Frame, ...]) -> bool:
        if id(frames) not in verdicts:
            verdicts[id(frames)] = any(search(frame.function) or search(frame.file) for frame in frames)
        return verdicts[id(frames)]

    return profile.where(lambda sample: matches(sample.frames))


def by_trace(profile: Profile, trace_id: str) -> Profile:
    """Samples of one trace under any of the label names `names.trace_and_span` knows."""
    wanted = trace_id.lower().rjust(32, "0")
    return profile.where(lambda sample: trace_and_span(sample.labels)[0] == wanted)


def by_span(profile: Profile, span_id: str) -> Profile:
    wanted = span_id.lower().rjust(16, "0")
    return profile.where(lambda sample: trace_and_span(sample.labels)[1] == wanted)


def by_label(profile: Profile, key: str, value: str) -> Profile:
    return profile.where(lambda sample: sample.labels.get(key) == value)


def without_profiler(profile: Profile) -> Profile:
    """Without the samples that exist only because a profile was being taken (names.is_profiler_itself)."""
    verdicts: dict[int, bool] = {}

    def is_evidence(frames: tuple[Frame, ...]) -> bool:
        if id(frames) not in verdicts:
            verdicts[id(frames)] = not is_profiler_itself(frames)
        return verdicts[id(frames)]

    return profile.where(lambda sample: is_evidence(sample.frames))
