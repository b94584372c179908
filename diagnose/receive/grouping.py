"""
Which rule an alert falls under, which service it is about and which incident it belongs to.

Nothing but labels and settings decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from diagnose.config import Rule, Settings
from diagnose.matchers import Matcher, all_match, parse_matcher
from diagnose.model import IncidentKey, Labels

NARROWING = "diagnose"  # label of a route or annotation of a rule: `diagnose: cpu,heap`


def service_of(labels: Labels, settings: Settings) -> str:
    """
    The service an alert is about; "" only when not even the alert has a name.

    In this order: `service` of the matching target, label `service_name`, `job` after its last slash, `service`,
    `alertname`.
    """
    return service_and_source(labels, settings)[0]


def service_and_source(labels: Labels, settings: Settings) -> tuple[str, str]:
    """The same, and what told it."""
    job = labels.get("job", "").rpartition("/")[2]
    told = (
        (_service_of_target(labels, settings), "the target that agrees in most labels"),
        (labels.get("service_name", ""), "label service_name"),
        (job, "label job"),
        (labels.get("service", ""), "label service"),
        (labels.get("alertname", ""), "the name of the alert: no label says more"),
    )
    return next((each for each in told if each[0]), ("", "not even the alert has a name"))


def _service_of_target(labels: Labels, settings: Settings) -> str:
    """
    The service of the targets that agree with the alert in the most labels; "" when none does or they disagree.

    Only labels that both have are compared: an alert that was aggregated over instances has fewer than its targets.
    """
    best = 1
    services: set[str] = set()
    for target in settings.targets:
        common = _agreement(target.match, labels)
        if common > best:
            best, services = common, set()
        if common == best:
            services.add(target.service)
    return services.pop() if len(services) == 1 else ""


def _agreement(match: Mapping[str, str], labels: Labels) -> int:
    """How many labels both have; 0 when one of them differs."""
    both = match.keys() & labels.keys()
    return len(both) if all(match[name] == labels[name] for name in both) else 0


def incident_key(labels: Labels, settings: Settings) -> IncidentKey:
    """
    What the alert belongs to, by `incidents.group_by`; a label that is missing counts as empty.

        {"service": "checkout", "namespace": ""}  →  group_id of the incident
    """
    service = service_of(labels, settings)
    group = {name: service if name == "service" else labels.get(name, "") for name in settings.incidents.group_by}
    return IncidentKey(group_id=json.dumps(group, ensure_ascii=False), service=service)


def matching_rule(labels: Labels, settings: Settings) -> Rule | None:
    """The first rule whose matchers all accept *labels*."""
    return next((rule for rule in settings.rules if all_match(map(_matcher, rule.matchers), labels)), None)


@lru_cache(maxsize=1024)
def _matcher(text: str) -> Matcher:
    return parse_matcher(text)


def capture_kinds(rule: Rule, route_labels: Labels, annotations: Labels) -> tuple[str, ...]:
    """
    The profile kinds to take, in the rule's order. A route label and an annotation may narrow the rule, never widen it.

        rule goroutine, heap, cpu; annotation `diagnose: cpu,trace`  →  cpu
    """
    kinds = tuple(rule.capture)
    for told in (route_labels.get(NARROWING, ""), annotations.get(NARROWING, "")):
        if told.strip():
            wanted = {kind.strip() for kind in told.split(",")}
            kinds = tuple(kind for kind in kinds if kind in wanted)
    return kinds
