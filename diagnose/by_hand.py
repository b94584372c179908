"""
A capture that somebody asks for, with or without an incident it belongs to.

Limits that protect the process hold (rounds and seconds per hour); the cooldown, which keeps alerts from repeating
themselves, does not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from diagnose.capture.targets import AllowedTarget
from diagnose.config import Rule
from diagnose.model import Alert, AlertGroup, fingerprint_of, utc_now

BY_HAND = "captured by hand"
ALERTNAME = "ManualCapture"
INSTANCES = 2  # unless told otherwise


@dataclass(frozen=True)
class Wanted:
    """What to take; nothing said is as the rule has it."""

    kinds: tuple[str, ...] = ()
    seconds: int | None = None

    def kinds_or(self, rule: Rule) -> tuple[str, ...]:
        return self.kinds or tuple(rule.capture)

    def narrow(self, rule: Rule) -> Rule:
        """*rule* with these seconds and without a cooldown."""
        return rule.model_copy(update={"seconds": self.seconds or rule.seconds, "cooldown": timedelta(0)})


def made_up_alert(targets: Sequence[AllowedTarget]) -> Alert:
    """In the place of the alert that an incident has otherwise."""
    first, now = targets[0], utc_now()
    labels = {"alertname": ALERTNAME, "service_name": first.service, "severity": "none"}
    if len(targets) == 1:
        labels["instance"] = first.labels.get("instance") or first.instance
    names = ", ".join(target.instance for target in targets)
    annotations = {"summary": f"profiles of {names} were asked for by hand"}
    return Alert(fingerprint_of(labels), "firing", labels, annotations, now, None)


def group_of(alert: Alert) -> AlertGroup:
    """As a message, which is what incidents are made from."""
    body = json.dumps({"alertname": alert.alertname, "status": alert.status, "labels": dict(alert.labels)}).encode()
    return AlertGroup(BY_HAND, ALERTNAME, "", alert.status, "", (alert,), utc_now(), body)
