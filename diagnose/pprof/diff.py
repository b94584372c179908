"""
Before and after, per function name, with significance.

A function is tested on its number of observations (kinds.observations), twice: did its rate per wall second change, and
did its share of all observations? The weaker answer counts. So when the load triples, every rate rises but no share
does, and nothing is reported; when one function is added on top, all other shares fall but no rate does, and only the
added one is reported. Functions under 10 observations on both sides are not tested. The false discovery rate over the
tested functions is at most 1 %. With three or more other profiles of health, z is made smaller for functions that
varied more than by chance between those (significance.dispersion).

A function of the program's own is tested on its share of what was seen in such functions. The runtime's own work (idle
threads looking for something to do) does not grow with the load, so shares of everything shift with it.

Worked example, CPU ticks (`samples`) in 10 s before and 10 s after:

    function      before  after   z of rate   z of share   z
    main.match        60   1400       35.06        33.03   33.03   significant
    main.render      940    600       -8.66       -33.00   -8.66   significant
    main.rare          3      5                            None    not tested
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diagnose.pprof.filters import without_profiler
from diagnose.pprof.kinds import observations
from diagnose.pprof.names import is_own
from diagnose.pprof.profile import Profile, ValueType
from diagnose.pprof.significance import MIN_COUNT, Dispersion, discoveries, dispersion, weaker, z_of_rate, z_of_share
from diagnose.pprof.top import By, FunctionValue, function_values, stack_values


@dataclass(frozen=True, slots=True)
class FunctionChange:
    """
    One function in both profiles, in the unit of the value type.

    `flat` and `cum` are new minus base. `flat_points` and `cum_points` are the change of the share of the total, in
    percentage points: 3 % before and 71 % after is 68.0. `z` belongs to the column the diff was made by.
    """

    name: str
    file: str
    base_flat: int
    base_cum: int
    new_flat: int
    new_cum: int
    flat: int
    cum: int
    flat_points: float
    cum_points: float
    z: float | None
    significant: bool


@dataclass(frozen=True, slots=True)
class Diff:
    """Changes, the significant ones first, then by size. Totals are of the base and the new profile."""

    value_type: ValueType
    base_total: int
    new_total: int
    functions: tuple[FunctionChange, ...]


def diff(
    base: Profile,
    new: Profile,
    value_type: str | None = None,
    *,
    by: By = "flat",
    relative: bool = False,
    own_work: bool = False,
    healthy: Sequence[Profile] = (),
) -> Diff:
    """
    What changed from *base* to *new*; *healthy* are more profiles like *base*, which tell how much varies by itself.

    Tested is the column *by*: flat finds the function that does the work, cum also marks everything that calls it. With
    *relative* the values of *new* are scaled to the total of *base* before they are subtracted, as `pprof -normalize`
    does. Samples of the profiler itself are left out unless *own_work*. Raises KeyError when the value type is missing.
    """
    if not own_work:
        base, new = without_profiler(base), without_profiler(new)
        healthy = [without_profiler(each) for each in healthy]
    type_name = new.sample_types[new.value_index(value_type)].type
    before, after = _side(base, type_name), _side(new, type_name)
    scale = before.total / after.total if relative and after.total else 1.0
    varies = dispersion([_counts(each, type_name, by) for each in healthy], [_all(each, type_name) for each in healthy])
    z_values = _z_values(base, new, type_name, by, varies)
    significant = dict(zip(z_values, discoveries(list(z_values.values())), strict=True))
    changes = [
        _change(before, after, name, scale=scale, z=z_values.get(name), significant=significant.get(name, False))
        for name in before.functions | after.functions
    ]
    changes.sort(key=lambda each: (not each.significant, -abs(each.flat if by == "flat" else each.cum), each.name))
    return Diff(new.sample_types[new.value_index(value_type)], before.total, after.total, tuple(changes))


@dataclass(frozen=True)
class _Side:
    functions: dict[str, FunctionValue]
    total: int

    def get(self, name: str) -> FunctionValue:
        return self.functions.get(name) or FunctionValue(name, "", 0, 0)

    def percent(self, value: int) -> float:
        return 100 * value / self.total if self.total else 0.0


def _side(profile: Profile, value_type: str) -> _Side:
    return _Side(function_values(stack_values(profile, profile.value_index(value_type))), profile.total(value_type))


def _change(
    before: _Side, after: _Side, name: str, *, scale: float, z: float | None, significant: bool
) -> FunctionChange:
    old, now = before.get(name), after.get(name)
    return FunctionChange(
        name=name,
        file=now.file or old.file,
        base_flat=old.flat,
        base_cum=old.cum,
        new_flat=now.flat,
        new_cum=now.cum,
        flat=round(now.flat * scale) - old.flat,
        cum=round(now.cum * scale) - old.cum,
        flat_points=after.percent(now.flat) - before.percent(old.flat),
        cum_points=after.percent(now.cum) - before.percent(old.cum),
        z=z,
        significant=significant,
    )


def _z_values(base: Profile, new: Profile, value_type: str, by: By, varies: Dispersion) -> dict[str, float]:
    """z per tested function."""
    before, after = _counts(base, value_type, by), _counts(new, value_type, by)
    everything, in_own = (
        (_all(base, value_type), _all(new, value_type)),
        (_own(base, value_type), _own(new, value_type)),
    )
    own = _own_functions(base) | _own_functions(new)
    timed = base.duration_ns > 0 and new.duration_ns > 0
    before_s, after_s = (base.duration_ns / 1e9, new.duration_ns / 1e9) if timed else (1.0, 1.0)
    z_values = {}
    for name in sorted(before.keys() | after.keys()):
        a, b = before.get(name, 0.0), after.get(name, 0.0)
        if max(a, b) >= MIN_COUNT:
            whole = in_own if name in own and min(in_own) >= MIN_COUNT else everything
            z = weaker(z_of_rate(a, b, before_s, after_s), z_of_share(a, b, *whole))
            z_values[name] = varies.z(name, z)
    return z_values


def _counts(profile: Profile, value_type: str, by: By) -> Mapping[str, float]:
    """Observations per function. Those taken away in a difference do not count."""
    counts: dict[str, float] = {}
    for sample, seen in zip(profile.samples, observations(profile, value_type), strict=True):
        if seen > 0:
            for name in {frame.function for frame in (sample.frames if by == "cum" else sample.frames[:1])}:
                counts[name] = counts.get(name, 0.0) + seen
    return counts


def _own_functions(profile: Profile) -> set[str]:
    return {frame.function for sample in profile.samples for frame in sample.frames if is_own(frame)}


def _own(profile: Profile, value_type: str) -> float:
    """Observations of stacks with a function of the program's own in them."""
    verdicts: dict[int, bool] = {}
    total = 0.0
    for sample, seen in zip(profile.samples, observations(profile, value_type), strict=True):
        if id(sample.frames) not in verdicts:
            verdicts[id(sample.frames)] = any(is_own(frame) for frame in sample.frames)
        total += seen if verdicts[id(sample.frames)] and seen > 0 else 0
    return total


def _all(profile: Profile, value_type: str) -> float:
    return sum(seen for seen in observations(profile, value_type) if seen > 0)
