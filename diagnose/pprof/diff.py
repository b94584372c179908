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

from diagnose.pprof.filters import without_profiler
from diagnose.pprof.kinds import observations
from diagnose.pprof.names import is_own
from diagnose.pprof.profile import Profile
from diagnose.pprof.sides import Diff, FunctionSide, FunctionSides
from diagnose.pprof.significance import MIN_COUNT, dispersion
from diagnose.pprof.top import By, FunctionValue, function_values, stack_values


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
    varies = dispersion([_counts(each, type_name, by) for each in healthy], [_all(each, type_name) for each in healthy])
    return _sides(base, new, type_name).diff(by=by, relative=relative, varies=varies)


def _sides(base: Profile, new: Profile, value_type: str) -> FunctionSides:
    """What the macro `function_sides` says of stored profiles."""
    before, after = _values(base, value_type), _values(new, value_type)
    flat, cum = ((_counts(base, value_type, by), _counts(new, value_type, by)) for by in ("flat", "cum"))
    everything = _all(base, value_type), _all(new, value_type)
    in_own = _own(base, value_type), _own(new, value_type)
    own = _own_functions(base) | _own_functions(new)
    functions = []
    for name in sorted(before.keys() | after.keys() | cum[0].keys() | cum[1].keys()):
        nothing = FunctionValue(name, "", 0, 0)
        old, now = before.get(name, nothing), after.get(name, nothing)
        base_all, new_all = in_own if name in own and min(in_own) >= MIN_COUNT else everything
        functions.append(
            FunctionSide(
                name=name,
                file=now.file or old.file,
                is_own=name in own,
                base_flat=old.flat,
                new_flat=now.flat,
                base_cum=old.cum,
                new_cum=now.cum,
                base_flat_seen=flat[0].get(name, 0.0),
                new_flat_seen=flat[1].get(name, 0.0),
                base_cum_seen=cum[0].get(name, 0.0),
                new_cum_seen=cum[1].get(name, 0.0),
                base_all_seen=base_all,
                new_all_seen=new_all,
            )
        )
    return FunctionSides(
        value_type=new.sample_types[new.value_index(value_type)],
        seconds=(base.duration_ns / 1e9, new.duration_ns / 1e9),
        totals=(base.total(value_type), new.total(value_type)),
        functions=tuple(functions),
    )


def _values(profile: Profile, value_type: str) -> dict[str, FunctionValue]:
    return function_values(stack_values(profile, profile.value_index(value_type)))


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
