"""
Errors: the span in which requests fail, and the attribute value that the failures have in common.

Needs spans of the incident; those of the healthy time tell whether failures are new. The origin is the deepest failed
span: one without a failed span below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnose.explain.evidence import Evidence
from diagnose.explain.result import LIKELY_Z, STRONG_Z, Answer, Result
from diagnose.explain.wording import code, number, percent
from diagnose.model import Confidence, Effect, Finding, Note, Subject

FEWEST_FAILED = 5
RISEN_Z = 3.0  # one test, not one per function: less is needed to be no chance
SMALLEST_SHARE = 0.2  # of the failures
LARGE_SHARE = 0.5
COMMON = 0.8  # of the failures have the attribute value
TIMEOUT = re.compile(r"deadline exceeded|time[d ]*-?out|context canceled|cancell?ed", re.IGNORECASE)
SLOWNESS_SEEN_BY_THE_CALLER = 0.5
# Attributes that say that it failed, or that name one connection, and not what was asked for.
CONSEQUENCES = re.compile(
    r"error|exception|status|http\.response\.|(network|net|client|peer)\..*(port|address|addr|ip|name)"
    r"|url\.(full|query)|http\.url|http\.target|thread\.|server\.port|user_agent"
)


@dataclass(frozen=True)
class Failures:
    """Requests before and during the incident, and how many of them failed."""

    before: int
    during: int
    failed_before: int
    failed_during: int
    z: float

    @property
    def share_before(self) -> float:
        return self.failed_before / self.before if self.before else 0.0

    @property
    def share_during(self) -> float:
        return self.failed_during / self.during if self.during else 0.0

    @property
    def have_risen(self) -> bool:
        """Without spans of the healthy time: that many fail at all."""
        if self.failed_during < FEWEST_FAILED:
            return False
        return self.z >= RISEN_Z or (not self.before and self.share_during >= 0.05)


@dataclass(frozen=True)
class Origin:
    """Spans of one name in which requests fail first; `share` is of all failed requests."""

    service: str
    name: str
    share: float
    message: str
    trace_id: str


@dataclass(frozen=True)
class Key:
    """A value nearly all failures have: the share of them with it, and how often it fails, with and without it."""

    key: str
    value: str
    share_of_failed: float
    fails_with: float
    fails_without: float
    z: float
    answer: Answer


def find_errors(evidence: Evidence) -> Result:
    windows = {"service": evidence.incident.service_name, **evidence.sick_literals}
    counted = evidence.ask("errors", "failures", **windows, **evidence.healthy_literals)
    failures = Failures(**{name: value or 0 for name, value in counted.rows[0].items()})
    if not failures.during:
        return Result()
    if not failures.have_risen:
        return Result(ruled_out=(_unchanged(failures, counted.sql),))
    answer = evidence.ask("errors", "origins", **windows)
    origins = [_origin(row) for row in answer.rows]
    return Result(
        findings=tuple(
            _finding(origin, failures, _key(evidence, origin), answer, evidence.incident.service_name)
            for origin in origins[:1]
            if origin.share >= SMALLEST_SHARE
        )
    )


def _origin(row: Mapping[str, Any]) -> Origin:
    return Origin(
        row["service_name"],
        row["name"],
        row["requests"] / row["of_requests"],
        row["message"] or "",
        row["trace_id"],
    )


def _key(evidence: Evidence, origin: Origin) -> Key | None:
    answer = evidence.ask(
        "errors",
        "attributes",
        origin_service=origin.service,
        origin_name=origin.name,
        **evidence.sick_literals,
    )
    keys = [_as_key(row, answer) for row in answer.rows if not CONSEQUENCES.search(row["key"])]
    common = [key for key in keys if key.z >= LIKELY_Z and key.share_of_failed >= COMMON]
    return max(common, key=lambda key: (round(key.z, 6), key.key.startswith("app."), key.key), default=None)


def _as_key(row: Mapping[str, Any], answer: Answer) -> Key:
    with_, without = row["failed_with"] + row["fine_with"], row["failed"] + row["fine"]
    rest = without - with_
    return Key(
        row["key"],
        row["value"],
        row["failed_with"] / row["failed"],
        row["failed_with"] / with_,
        (row["failed"] - row["failed_with"]) / rest if rest else 0.0,
        float(row["z"]),
        answer,
    )


def _finding(origin: Origin, failures: Failures, key: Key | None, answer: Answer, service: str) -> Finding:
    before = f"{percent(failures.share_before)} before" if failures.before else "how many before is not known"
    statement = (
        f"{percent(origin.share)} of the failures begin in span {code(origin.name)} of {origin.service}"
        f"{_common(key)}. {percent(failures.share_during)} of the requests to {service} fail, {before} "
        f"(z = {number(failures.z)}).{_message(origin)}"
    )
    return Finding(
        kind="errors",
        statement=statement,
        subject=Subject("span", origin.name),
        effect=Effect(
            100 * (failures.share_during - failures.share_before),
            "points of failed requests",
            100 * failures.share_before if failures.before else None,
            100 * failures.share_during,
        ),
        significance={
            "method": "share of failed requests" + (", and of the attribute among failed spans" if key else ""),
            "z": min(failures.z, key.z) if key and failures.before else (key.z if key else failures.z),
        },
        confidence=_confidence(origin, failures, key),
        evidence=(origin.trace_id,),
        sql=key.answer.sql if key else answer.sql,
        weight=origin.share * (SLOWNESS_SEEN_BY_THE_CALLER if TIMEOUT.search(origin.message) else 1.0),
    )


def _confidence(origin: Origin, failures: Failures, key: Key | None) -> Confidence:
    z = max(failures.z, key.z if key else 0.0)
    return "strong" if z >= STRONG_Z and origin.share >= LARGE_SHARE else "likely"


def _common(key: Key | None) -> str:
    if key is None:
        return ""
    return (
        f", {percent(key.share_of_failed)} of them with {code(f'{key.key} = {key.value}')}: {percent(key.fails_with)} "
        f"of those fail, of the others {percent(key.fails_without)} (z = {number(key.z)})"
    )


def _message(origin: Origin) -> str:
    text = " ".join(origin.message.split())
    if not text:
        return ""
    return f" It says: {code(text if len(text) <= 160 else text[:159] + '…')}."


def _unchanged(failures: Failures, sql: str) -> Note:
    before = f"{failures.failed_before} of {failures.before} before" if failures.before else "none known from before"
    return Note(f"Errors: {failures.failed_during} of {failures.during} requests failed ({before})", sql=sql)
