"""
The order of findings. The first one is the verdict.

**The rule.** Every detector gives each finding a weight from 0 to 1: the part of the symptom that it explains, which is
what was added over what there is now, in the unit the detector measures.

    hot_code    CPU per second the function gained, of all CPU per second now
    change      the same since a new build; that requests got slower then   × 0.6: it may be a coincidence
    instance    the same against a healthy instance                          × 0.9: the function itself comes first
    memory      live bytes the allocation site gained, of all live bytes now
    leak        goroutines the group gained, of all goroutines now      × 0.6 while only one snapshot says so
    lock        waiting the holder gained, of all waiting now            × w/(w + 0.05), w seconds of waiting per second
    gc          collector's CPU per second gained, of all CPU now
    errors      failures that begin in the span, of all failures         × 0.5 if it timed out: slowness, not a fault
    retry_storm requests that repeat a failing call, of all requests
    downstream  time per slow request added there, of its duration       × 0.9: why it is slow is not seen from here
    latency     the same for one span of the service itself              × 0.75: a span says where, not why
    waiting     time of requests added in the function, of all           × 0.6: that goroutines wait may be normal

Then:

1. A hint counts half: it was not tested against a healthy time.
2. A span in which the function of another finding runs is the consequence of that finding. It comes after it (at most
   half its weight) and says so; both sentences name each other. Labels of CPU, wall and goroutine samples tell which
   function runs in which span.
3. A second finding on the same function is further evidence for the first, and comes after it in the same way. Seeing
   goroutines wait in a function that a heavier finding names already adds nothing and is left out.
4. Failures of what a retry storm repeats come after it: they are why it began, it is why they go on.
5. By weight; what explains less than a twentieth is left out; at most six.

**Worked example**, a CPU fault in `shop.(*PriceMatcher).compareEveryPair`, which span `price.match` runs:

    hot_code  compareEveryPair   0.68 of 0.70 cores are new                 0.97
    latency   price.match        118 of 124 ms are new, × 0.75 = 0.71       95 % of compareEveryPair's samples are in
                                                                            this span  →  min(0.71, 0.97/2) = 0.49
    waiting   shop.call          a tenth of request time, × 0.6             0.06

The page then says: first the function, and that it belongs to span `price.match`; then the span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from diagnose.explain.evidence import Evidence, SpanShare
from diagnose.explain.waiting import WAITING_UNIT
from diagnose.explain.wording import code, percent, short
from diagnose.model import Finding

MOST = 6
SMALLEST_WEIGHT = 0.05
HINT = 0.5
CONSEQUENCE = 0.5
RUNS_IN = 0.3  # of what was seen of a function must be in the span
ABOUT_SPANS = ("latency", "downstream")


def rank(evidence: Evidence, findings: Iterable[Finding]) -> list[Finding]:
    """*findings* in their order, with `rank` 1, 2, … and the weights they were ordered by."""
    weighed = [replace(each, weight=min(1.0, each.weight * _certainty(each))) for each in findings]
    ordered = sorted(weighed, key=_order)
    linked = _link_spans(evidence, _link_functions(_link_storm(_without_repeats(ordered))))
    kept = [each for each in sorted(linked, key=_order) if each.weight >= SMALLEST_WEIGHT]
    return [replace(each, rank=rank_) for rank_, each in enumerate(kept[:MOST], start=1)]


def _certainty(finding: Finding) -> float:
    return HINT if finding.confidence == "hint" else 1.0


def _order(finding: Finding) -> tuple[float, str, str]:
    return -finding.weight, finding.kind, finding.subject.name


def _without_repeats(ordered: list[Finding]) -> list[Finding]:
    """Rule 3, its end. Findings about waiting are those of kind latency or lock on polled goroutines."""
    kept: list[Finding] = []
    for finding in ordered:
        named = code(short(finding.subject.name))
        if finding.effect.unit == WAITING_UNIT and any(named in each.statement for each in kept):
            continue
        kept.append(finding)
    return kept


def _link_storm(ordered: list[Finding]) -> list[Finding]:
    """Rule 4."""
    storm = next((each for each in ordered if each.kind == "retry_storm"), None)
    if storm is None or storm.confidence == "hint":
        return ordered
    text = "Such calls are repeated, see above."
    return [_after(each, storm, text) if each.kind in ("errors", "downstream") else each for each in ordered]


def _link_functions(ordered: list[Finding]) -> list[Finding]:
    """Rule 3: of findings on one function the heaviest leads."""
    leads: dict[str, Finding] = {}
    linked = []
    for finding in ordered:
        lead = leads.get(finding.subject.name) if finding.subject.type == "function" else None
        if lead is None:
            leads.setdefault(finding.subject.name, finding)
            linked.append(finding)
        else:
            linked.append(_after(finding, lead, "The same function as above."))
    return linked


def _link_spans(evidence: Evidence, ordered: list[Finding]) -> list[Finding]:
    """Rule 2: spans come after the functions that run in them."""
    spans = {each.subject.name: evidence.spans_of(each.subject.name) for each in ordered if _names_code(each)}
    causes = [each for each in ordered if _names_code(each)]
    linked: dict[int, Finding] = {id(each): each for each in ordered}
    for finding in ordered:
        if finding.kind not in ABOUT_SPANS or _names_code(finding):
            continue
        found = _cause_of(finding, causes, spans)
        if found is not None:
            cause, share = found
            text = f"That is where {code(short(cause.subject.name))} runs."
            linked[id(finding)] = _after(finding, linked[id(cause)], text)
            back = f"{percent(share.share)} of what was seen of it belongs to span {code(share.name)}."
            if back not in linked[id(cause)].statement:
                linked[id(cause)] = replace(linked[id(cause)], statement=f"{linked[id(cause)].statement} {back}")
    return [linked[id(each)] for each in ordered]


def _names_code(finding: Finding) -> bool:
    return finding.subject.type == "function"


def _cause_of(
    finding: Finding, causes: Iterable[Finding], spans: Mapping[str, tuple[SpanShare, ...]]
) -> tuple[Finding, SpanShare] | None:
    """The heaviest finding whose function runs in the span of *finding*, which its sentence names."""
    for cause in causes:
        for share in spans[cause.subject.name]:
            if share.share >= RUNS_IN and code(share.name) in finding.statement and cause.confidence != "hint":
                return cause, share
    return None


def _after(finding: Finding, lead: Finding, text: str) -> Finding:
    return replace(
        finding, weight=min(finding.weight, CONSEQUENCE * lead.weight), statement=f"{finding.statement} {text}"
    )
