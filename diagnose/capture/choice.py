"""Which processes of a service to profile: the worst first, and a healthy one beside them to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diagnose.capture.targets import AllowedTarget, TargetDirectory
from diagnose.capture.worst import Measured, by_target, per_instance
from diagnose.model import Labels


@dataclass(frozen=True)
class Watched:
    """One alert: its labels, and what it compares with which number (an empty expression: not known)."""

    labels: Labels
    expr: str = ""
    threshold: float | None = None
    low_is_bad: bool = False


@dataclass(frozen=True)
class Choice:
    """`sick`: the worst first. `peer`: a healthy process of the same service, if one is known."""

    sick: tuple[AllowedTarget, ...] = ()
    peer: AllowedTarget | None = None

    @property
    def targets(self) -> tuple[AllowedTarget, ...]:
        return (*self.sick, *([self.peer] if self.peer else []))


def choose_for(directory: TargetDirectory, alerts: Sequence[Watched], instances: int) -> Choice:
    """
    At most *instances* sick processes for *alerts* of one service.

    Prometheus is asked for the value per instance only when the labels of the alerts leave a choice.
    """
    targets: dict[str, AllowedTarget] = {}
    named: dict[str, AllowedTarget] = {}
    for alert in alerts:
        found = directory.for_labels(alert.labels)
        targets |= {each.pprof_url: each for each in found}
        named |= {each.pprof_url: each for each in directory.named(alert.labels, found)}
    leaves_a_choice = len(targets) > 1 and not 1 <= len(named) <= instances
    measured = measure(directory, alerts, list(targets.values())) if leaves_a_choice else Measured()
    return choose(list(targets.values()), list(named.values()), instances, measured)


def measure(directory: TargetDirectory, alerts: Sequence[Watched], targets: Sequence[AllowedTarget]) -> Measured:
    """What the first of *alerts* that has it per instance says about *targets*."""
    for alert in alerts:
        if alert.expr:
            values = by_target(directory.ask(per_instance(alert.expr)), targets)
            if values:
                return Measured(values, alert.threshold, alert.low_is_bad)
    return Measured()


def choose(
    targets: Sequence[AllowedTarget], named: Sequence[AllowedTarget], instances: int, measured: Measured
) -> Choice:
    """
    The worst *instances* of those *named* by the alerts, of all when none is; the best of the others as their peer.

    Of processes that nothing was measured of, those that are up come first. Without names and without measured values
    nobody is known to be healthy, and there is no peer. One that clearly is healthy is not taken for sick.
    """
    ranked = sorted(named or targets, key=lambda each: (-measured.badness(each), not each.up))
    if not ranked:
        return Choice()
    worst = ranked[0]
    sick = [each for each in ranked if each in named or not measured.is_healthy(each, worst)][:instances]
    others = [each for each in targets if each.up and each not in sick and each not in named]
    if measured.values:
        others = [each for each in others if measured.is_healthy(each, worst)]
    elif not named:
        others = []
    peer = min(others, key=measured.badness, default=None)
    return Choice(tuple(sick), peer)
