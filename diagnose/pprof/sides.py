"""Two sides added up by function → what changed. Sides come from profiles in memory (diff.py) or from SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from diagnose.pprof.profile import ValueType
from diagnose.pprof.significance import MIN_COUNT, Dispersion, discoveries, weaker, z_of_rate, z_of_share
from diagnose.pprof.top import By

AS_BY_CHANCE = Dispersion()


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


class FunctionSide(NamedTuple):
    """One function: its values, and with `_seen` the observations behind them; `_all_seen`: those it is a share of."""

    name: str
    file: str
    is_own: bool
    base_flat: int
    new_flat: int
    base_cum: int
    new_cum: int
    base_flat_seen: float
    new_flat_seen: float
    base_cum_seen: float
    new_cum_seen: float
    base_all_seen: float
    new_all_seen: float


@dataclass(frozen=True)
class FunctionSides:
    """All functions of both sides, their totals, and how many seconds each side covers (0: not known)."""

    value_type: ValueType
    seconds: tuple[float, float]
    totals: tuple[int, int]
    functions: tuple[FunctionSide, ...]

    @classmethod
    def of(cls, value_type: ValueType, seconds: tuple[float, float], rows: Sequence[Sequence[Any]]) -> Self:
        """From rows of the macro `function_sides`; the totals are in every row."""
        totals = (rows[0][11], rows[0][12]) if rows else (0, 0)
        return cls(value_type, seconds, totals, tuple(FunctionSide(*row[:11], *row[13:15]) for row in rows))

    def diff(self, *, by: By = "flat", relative: bool = False, varies: Dispersion = AS_BY_CHANCE) -> Diff:
        """What changed, the significant first, then by size of the change. See pprof/diff.py."""
        base_total, new_total = self.totals
        scale = base_total / new_total if relative and new_total else 1.0
        z_values = {name: varies.z(name, z) for name, z in self._z_values(by)}
        significant = dict(zip(z_values, discoveries(list(z_values.values())), strict=True))
        changes = [
            self._change(each, scale, z_values.get(each.name), significant=significant.get(each.name, False))
            for each in self.functions
            if each.base_flat or each.base_cum or each.new_flat or each.new_cum
        ]
        changes.sort(key=lambda each: (not each.significant, -abs(each.flat if by == "flat" else each.cum), each.name))
        return Diff(self.value_type, base_total, new_total, tuple(changes))

    def changed(self) -> list[str]:
        """Functions whose cum changed significantly."""
        z_values = dict(self._z_values("cum"))
        return [name for name, counts in zip(z_values, discoveries(list(z_values.values())), strict=True) if counts]

    def _z_values(self, by: By) -> Iterable[tuple[str, float]]:
        """z of each function with enough observations."""
        before_s, after_s = self.seconds if min(self.seconds) > 0 else (1.0, 1.0)
        for each in self.functions:
            a, b = (
                (each.base_flat_seen, each.new_flat_seen) if by == "flat" else (each.base_cum_seen, each.new_cum_seen)
            )
            if max(a, b) >= MIN_COUNT:
                yield (
                    each.name,
                    weaker(z_of_rate(a, b, before_s, after_s), z_of_share(a, b, each.base_all_seen, each.new_all_seen)),
                )

    def _change(self, each: FunctionSide, scale: float, z: float | None, *, significant: bool) -> FunctionChange:
        base_total, new_total = self.totals

        def points(now: int, before: int) -> float:
            now_share = 100 * now / new_total if new_total else 0.0
            return now_share - (100 * before / base_total if base_total else 0.0)

        return FunctionChange(
            name=each.name,
            file=each.file,
            base_flat=each.base_flat,
            base_cum=each.base_cum,
            new_flat=each.new_flat,
            new_cum=each.new_cum,
            flat=round(each.new_flat * scale) - each.base_flat,
            cum=round(each.new_cum * scale) - each.base_cum,
            flat_points=points(each.new_flat, each.base_flat),
            cum_points=points(each.new_cum, each.base_cum),
            z=z,
            significant=significant,
        )
