"""
What to capture for some alerts and from whom, with every decision on the way and its reason.

    each alert → rule → service → profile kinds;  all of them together → targets

The pipeline acts on it, `diagnose explain` shows what was decided, and a dry run shows what would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from diagnose.capture.choice import Choice, Watched, choose_for
from diagnose.capture.limits import why_not
from diagnose.capture.round import RoundRequest
from diagnose.capture.targets import AllowedTarget, TargetDirectory
from diagnose.config import Rule, Settings
from diagnose.correlate.expression import comparison, expression_of
from diagnose.model import Alert, AlertGroup, Decision, Episode, Labels
from diagnose.receive.grouping import capture_kinds, matching_rule, service_and_source
from diagnose.report.series import watched
from diagnose.store.db import Store


@dataclass(frozen=True)
class Plan:
    """`rule` is the one with the longest CPU profile of all that matched, `kinds` what any of them asks for."""

    choice: Choice
    kinds: tuple[str, ...]
    rule: Rule
    decisions: tuple[Decision, ...]

    @property
    def targets(self) -> tuple[AllowedTarget, ...]:
        return self.choice.targets


def plan_for(
    alerts: Iterable[Episode | Alert], route_labels: Labels, settings: Settings, directory: TargetDirectory
) -> Plan:
    """For alerts of one service; kinds in the order of the first rule."""
    kinds: dict[str, None] = {}
    rules: list[Rule] = []
    of_service: list[Watched] = []
    decisions: list[Decision] = []
    for alert in alerts:
        rule = matching_rule(alert.labels, settings)
        if rule is None:
            decisions.append(_no_rule(alert, settings))
            continue
        rules.append(rule)
        wanted = capture_kinds(rule, route_labels, alert.annotations)
        kinds |= dict.fromkeys(wanted)
        of_service.append(watched_by(alert))
        decisions += _on_alert(alert, rule, wanted, settings)
    instances = max((rule.instances for rule in rules), default=0)
    choice = choose_for(directory, of_service, instances)
    decisions += _on_targets(directory, of_service, choice, instances)
    rule = max(rules, key=lambda each: each.seconds, default=Rule())
    return Plan(choice, tuple(kinds), rule, tuple(dict.fromkeys(decisions)))


def dry_run(
    group: AlertGroup, settings: Settings, directory: TargetDirectory, store: Store | None = None
) -> list[dict[str, Any]]:
    """
    Per alert what would happen, as JSON has it: rule, service, kinds, seconds, targets, and the decisions.

    With a *store*, which targets were captured too often lately as well.
    """
    return [_shown(alert, group, settings, directory, store) for alert in group.alerts]


def _shown(
    alert: Alert, group: AlertGroup, settings: Settings, directory: TargetDirectory, store: Store | None
) -> dict[str, Any]:
    plan = plan_for([alert], group.route_labels, settings, directory)
    shown: dict[str, Any] = {"alertname": alert.alertname, "status": alert.status, "rule": None}
    if matching_rule(alert.labels, settings):
        shown |= {
            "rule": {"number": settings.rules.index(plan.rule) + 1, "matchers": plan.rule.matchers},
            "service": service_and_source(alert.labels, settings)[0],
            "kinds": list(plan.kinds),
            "seconds": plan.rule.seconds,
            "targets": [_target(each, is_peer=each is plan.choice.peer) for each in plan.targets],
        }
    resting = limits_now(store, plan) if store else ()
    return shown | {"decisions": [vars(decision) for decision in (*plan.decisions, *resting)]}


def _target(target: AllowedTarget, *, is_peer: bool) -> dict[str, Any]:
    return {"target": target.name, "instance": target.instance, "pprof": target.pprof_url, "peer": is_peer}


def watched_by(alert: Episode | Alert) -> Watched:
    """What the alert compares with which number, for the choice of instances."""
    expr = (alert.expr if isinstance(alert, Episode) else None) or expression_of(alert.generator_url)
    number, compared = watched(expr), comparison(expr)
    if number is None:
        return Watched(alert.labels)
    is_below = compared is not None and compared.operator in ("<", "<=") and compared.threshold == number.threshold
    return Watched(alert.labels, number.expr, number.threshold, is_below)


def _no_rule(alert: Episode | Alert, settings: Settings) -> Decision:
    reason = f"none of the {len(settings.rules)} rules matches: it is listed and opens no incident"
    return Decision("rule", _name(alert), "none", reason)


def _on_alert(alert: Episode | Alert, rule: Rule, kinds: Sequence[str], settings: Settings) -> Iterator[Decision]:
    name = _name(alert)
    number = settings.rules.index(rule) + 1
    yield Decision("rule", name, f"rule {number}", ", ".join(rule.matchers) or "it matches everything")
    yield Decision("service", name, *service_and_source(alert.labels, settings))
    yield Decision("kinds", name, ", ".join(kinds) or "none", _why_kinds(rule, kinds))


def _why_kinds(rule: Rule, kinds: Sequence[str]) -> str:
    if list(kinds) == list(rule.capture):
        return "as the rule says" if kinds else "the rule captures nothing"
    return f"the rule says {', '.join(rule.capture)}; narrowed by `diagnose` of the route or of an annotation"


def _on_targets(
    directory: TargetDirectory, alerts: Sequence[Watched], choice: Choice, instances: int
) -> Iterator[Decision]:
    known = {target.pprof_url: target for alert in alerts for target in directory.for_labels(alert.labels)}
    if alerts and not known:
        yield Decision("target", "allow-list", "none", "no target of the allow-list belongs to these alerts")
    for target in known.values():
        subject = f"{target.name} {target.instance}"
        if target in choice.sick:
            yield Decision("target", subject, "sick", "the alerts are about it or its service")
        elif target == choice.peer:
            yield Decision("target", subject, "healthy peer", "another instance of the service, to compare with")
        else:
            limit = f"{instances} sick {'instance' if instances == 1 else 'instances'} and a healthy peer"
            yield Decision("target", subject, "left out", f"at most {limit} are profiled")


def limits_now(store: Store, plan: Plan) -> Iterator[Decision]:
    """Which targets of *plan* a new incident would find resting, as the rows of earlier captures say."""
    request = RoundRequest(
        incident_id=None,
        trigger="alert",
        kinds=plan.kinds,
        seconds=plan.rule.seconds,
        cooldown=plan.rule.cooldown,
        max_per_hour=plan.rule.max_per_hour,
    )
    for target in plan.targets:
        if reason := why_not(store, target, request, continues=False):
            yield Decision("capture", f"{target.name} {target.instance}", "skipped", reason)


def _name(alert: Episode | Alert) -> str:
    instance = alert.labels.get("instance")
    return f"{alert.alertname} ({instance})" if instance else alert.alertname
