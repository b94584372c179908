"""
The alert rules of alert-rules/, as they are or with other figures.

What users copy is written for production: windows of minutes. The demo has seconds, so it replaces some texts in some
rules (DEMO); the containers of docker-compose.yml are in between (COMPOSE). Anything that no longer occurs in a rule is
an error: a changed rule cannot silently keep its old figures there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent.parent / "alert-rules"

# Alert → text in its expression or annotations → text to put there; `for` and `keep_firing_for` are whole fields.
# "*" is every rule whose expression has the text.
Values = Mapping[str, Mapping[str, str]]

PRODUCTION: Values = {}

# For scrapes and evaluations every second. A single hiccup stays visible for as long as the window, which is why no
# `for` is shorter than its window where a hiccup could exceed the threshold; what any busy machine disturbs (latency,
# waiting for a processor) has to last for three seconds more. In three seconds there are 60 requests: one in a hundred
# is less than one, so it is p95 here. Healthy figures and those of the faults, between which the thresholds lie, are in
# target/FAULTS.md.
DEMO: Values = {
    # Prometheus, the collector and others are watched in the demo, but they are not what is diagnosed.
    "*": {'job=~".+"': 'job=~"gateway|checkout|pricing|inventory"'},
    "HighLatency": {
        "[5m]": "[3s]",
        "0.99": "0.95",
        "p99": "p95",
        "> 0.5": "> 0.05",
        "for": "6s",
        "keep_firing_for": "5s",
    },
    "HighLatencyOneInstance": {
        "[5m]": "[3s]",
        "0.99": "0.95",
        "p99": "p95",
        "> 0.5": "> 0.05",
        "for": "6s",
        "keep_firing_for": "5s",
    },
    "HighErrorRatio": {"[5m]": "[6s]", "> 0.05": "> 0.03", "for": "2s", "keep_firing_for": "5s"},
    "GoroutineGrowth": {
        "[10m]": "[3s]",
        "offset 30m": "offset 3s",
        "> 0.2": "> 4",
        "1.2 *": "1 *",
        "for": "4s",
        "keep_firing_for": "5s",
    },
    "HeapGrowth": {
        "[10m]) > 50e3": "[5s]) > 1.5e6",
        "[10m]": "[3s]",
        "offset 30m": "offset 3s",
        "1.2 *": "1 *",
        "for": "4s",
        "keep_firing_for": "15s",
    },
    "HighGCShare": {"[5m]": "[3s]", "for": "5s", "keep_firing_for": "5s"},
    "MutexWait": {"[5m]": "[5s]", "> 0.5": "> 0.1", "for": "3s", "keep_firing_for": "5s"},
    "SchedulerLatency": {"[5m]": "[3s]", "> 0.02": "> 0.04", "for": "6s", "keep_firing_for": "5s"},
    "CPUSaturation": {"[5m]": "[3s]", "> 0.85": "> 0.25", "for": "6s", "keep_firing_for": "5s"},
    "TargetDown": {"for": "5s"},
}

# For docker-compose.yml: scrapes every five seconds, so windows of a minute, and the thresholds of the same small shop.
COMPOSE: Values = {
    "*": {'job=~".+"': 'job=~"gateway|checkout|pricing|inventory"'},
    "HighLatency": {"[5m]": "[1m]", "> 0.5": "> 0.05", "for": "30s", "keep_firing_for": "1m"},
    "HighLatencyOneInstance": {"[5m]": "[1m]", "> 0.5": "> 0.05", "for": "30s", "keep_firing_for": "1m"},
    "HighErrorRatio": {"[5m]": "[1m]", "for": "30s", "keep_firing_for": "1m"},
    "GoroutineGrowth": {
        "[10m]": "[1m]",
        "offset 30m": "offset 1m",
        "> 0.2": "> 1",
        "for": "30s",
        "keep_firing_for": "1m",
    },
    "HeapGrowth": {
        "[10m]) > 50e3": "[1m]) > 500e3",
        "[10m]": "[1m]",
        "offset 30m": "offset 1m",
        "for": "30s",
        "keep_firing_for": "1m",
    },
    "HighGCShare": {"[5m]": "[1m]", "for": "30s", "keep_firing_for": "1m"},
    "MutexWait": {"[5m]": "[1m]", "> 0.5": "> 0.1", "for": "30s", "keep_firing_for": "1m"},
    "SchedulerLatency": {"[5m]": "[1m]", "> 0.02": "> 0.04", "for": "30s", "keep_firing_for": "1m"},
    "CPUSaturation": {"[5m]": "[1m]", "> 0.85": "> 0.25", "for": "30s", "keep_firing_for": "1m"},
    "TargetDown": {"for": "30s"},
}


def render_rules(values: Values = PRODUCTION) -> dict[str, str]:
    """
    File name → YAML of every rule file, with *values* put in. The order in which a rule's texts are given matters.

    Raises ValueError for an alert that does not exist and for a text or field its rule does not have.
    """
    files = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
    rules = {rule["alert"]: rule for file in files.values() for group in file["groups"] for rule in group["rules"]}
    if unknown := values.keys() - rules.keys() - {"*"}:
        raise ValueError(f"no such alert in {FOLDER.name}/: {', '.join(sorted(unknown))}")
    for alert, rule in rules.items():
        for old, new in values.get(alert, {}).items():
            _replace(rule, old, new)
        for old, new in values.get("*", {}).items():
            rule["expr"] = rule["expr"].replace(old, new)
    return {name: yaml.safe_dump(file, sort_keys=False, allow_unicode=True) for name, file in files.items()}


def _replace(rule: dict[str, Any], old: str, new: str) -> None:
    """Puts *new* in place of a field named *old*, or of every *old* in the expression and the annotations."""
    texts = [rule["expr"], *rule["annotations"].values()]
    if old not in rule and not any(old in text for text in texts):
        raise ValueError(f"{rule['alert']}: neither a field nor a text is {old!r}")
    if old in rule:
        rule[old] = new
        return
    rule["expr"] = rule["expr"].replace(old, new)
    rule["annotations"] = {name: text.replace(old, new) for name, text in rule["annotations"].items()}
