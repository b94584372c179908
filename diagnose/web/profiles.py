"""The JSON API about stored profiles: the files, their functions, flame graphs and differences."""

from __future__ import annotations

import json
from itertools import starmap
from typing import Any

from flask import Blueprint, Response, request

from diagnose.errors import DecodeError
from diagnose.model import Labels
from diagnose.pprof.shapes import diff_shape, top_shape
from diagnose.pprof.top import By, Top
from diagnose.report.flamegraph import FlameRow, flame_data_from_nodes, page_of
from diagnose.store.profile_analysis import (
    Chosen,
    SampleFilter,
    Selection,
    choose,
    flame_diff_rows,
    flame_rows,
    sides_of,
    top_of,
)
from diagnose.store.profiles import find_profiles, profile_body
from diagnose.web.arguments import choice_arg, int_arg, label_args, text_arg, time_arg
from diagnose.web.context import current_service
from diagnose.web.security import REPORT_POLICY, needs
from diagnose.web.shapes import answer

profiles = Blueprint("profiles", __name__, url_prefix="/api/v1")
SHOWN = 30
MAX_FUNCTIONS = 1_000_000
SMALLEST_SHARE = 0.001  # of the total; smaller nodes of a flame graph cannot be seen


@profiles.get("/profiles")
@needs("read")
def listing() -> Response:
    """Newest first."""
    found = find_profiles(
        current_service().store,
        service=text_arg("service"),
        instance=text_arg("instance"),
        kind=text_arg("kind"),
        since=time_arg("since"),
        until=time_arg("until"),
        labels=label_args(),
        limit=int_arg("limit", 50, most=500),
    )
    return answer({"profiles": found})


@profiles.get("/profiles/<profile_id>")
@needs("read")
def body(profile_id: str) -> Response:
    """The gzipped pprof file as it came."""
    response = Response(profile_body(current_service().store, profile_id), content_type="application/octet-stream")
    response.headers["Content-Disposition"] = f'attachment; filename="{profile_id}.pb.gz"'
    return response


@profiles.get("/profiles/<profile_id>/top")
@needs("read")
def functions(profile_id: str) -> Response:
    """By flat or cum value, `n` of them (0: all)."""
    return _top(Selection(profile_id=profile_id), _sample_filter(labels=label_args()))


@profiles.get("/top")
@needs("read")
def merged_functions() -> Response:
    """The same of one profile or of a selection, whose profiles are merged."""
    return _top(_selection("profile"), _sample_filter())


def _top(selection: Selection, samples: SampleFilter) -> Response:
    store = current_service().store
    chosen = choose(store, selection, text_arg("value"))
    total, found = top_of(store, chosen, samples)
    limit = int_arg("n", SHOWN, least=0, most=MAX_FUNCTIONS)
    found.sort(key=lambda each: (*_largest_first(each.flat, each.cum), each.name))
    result = Top(chosen.value_type, total, tuple(found[:limit] if limit else found))
    return _json(top_shape(result, profile_id=chosen.profile_id, kind=chosen.kind) | _merged(chosen))


def _largest_first(flat: int, cum: int) -> tuple[int, int]:
    return (-abs(flat), -abs(cum)) if _by() == "flat" else (-abs(cum), -abs(flat))


@profiles.get("/flamegraph")
@needs("read")
def flamegraph() -> Response:
    """
    The data of report/flamegraph.py, or with `format=html` the whole page, of one profile or of a selection.

    With `base` or a selection of `base_…` the difference to that; with `lines=true` by function and line.
    """
    store = current_service().store
    chosen, samples = choose(store, _selection("profile"), text_arg("value")), _sample_filter()
    if _has_base():
        base = choose(store, _selection("base", prefix="base_"), chosen.value_type.type, field="base")
        rows = flame_diff_rows(store, base, chosen, samples, smallest_share=SMALLEST_SHARE)
        notable = sides_of(store, base, chosen, samples).changed()
    else:
        by_line = choice_arg("lines", ("true", "false")) == "true"
        rows = flame_rows(store, chosen, samples, smallest_share=SMALLEST_SHARE, by_line=by_line)
        notable = None
    data = flame_data_from_nodes(starmap(FlameRow, rows), chosen.value_type, notable=notable, smallest_share=0)
    if choice_arg("format", ("json", "html")) != "html":
        return _json(data | _merged(chosen))
    page = Response(page_of(data, title=_title(chosen), facts=[]))
    page.headers["Content-Security-Policy"] = REPORT_POLICY
    return page


def _json(shape: dict[str, Any]) -> Response:
    """As `answer`, of what is plain already: looking at each of twenty thousand numbers takes longer than the query."""
    text = json.dumps(shape, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text, content_type="application/json")


def _title(chosen: Chosen) -> str:
    if chosen.profile_id:
        return f"{chosen.kind} · {chosen.profile_id}"
    return f"{chosen.kind} · {chosen.service} · {len(chosen.profile_ids)} profiles"


@profiles.get("/diff")
@needs("read")
def difference() -> Response:
    """What changed from `base` to `new` (or between selections) per function, with significance."""
    store = current_service().store
    new = choose(store, _selection("new"), text_arg("value"))
    base = choose(store, _selection("base", prefix="base_"), new.value_type.type, field="base")
    relative = choice_arg("relative", ("true", "false")) == "true"
    result = sides_of(store, base, new, _sample_filter()).diff(by=_by(), relative=relative)
    limit = int_arg("n", SHOWN, least=0, most=MAX_FUNCTIONS)
    shape = diff_shape(result, profile_id=new.profile_id, base_profile_id=base.profile_id, kind=new.kind, limit=limit)
    return _json(shape | _merged(new))


def _selection(name: str, prefix: str = "") -> Selection:
    """Of the parameter *name*, or of service, instance, kind, since, until and label.… with *prefix* before them."""
    profile_id, service = text_arg(name), text_arg(f"{prefix}service")
    if profile_id is None and service is None:
        raise DecodeError(f"{name} is missing, and so is {prefix}service", field=name)
    return Selection(
        profile_id=profile_id,
        service=service,
        instance=text_arg(f"{prefix}instance"),
        kind=text_arg(f"{prefix}kind"),
        since=time_arg(f"{prefix}since"),
        until=time_arg(f"{prefix}until"),
        labels={} if profile_id else label_args(f"{prefix}label."),
    )


def _has_base() -> bool:
    return text_arg("base") is not None or text_arg("base_service") is not None


def _sample_filter(labels: Labels | None = None) -> SampleFilter:
    """`label.…` belongs to the samples of one profile, but chooses among the profiles of a selection."""
    one = text_arg("profile") or text_arg("new")
    of_samples = label_args() if labels is None and one else labels or {}
    return SampleFilter(
        trace_id=text_arg("trace_id"),
        span_id=text_arg("span_id"),
        labels={**of_samples, **label_args("sample.")},
        focus=request.args.get("focus"),
    )


def _merged(chosen: Chosen) -> dict[str, int]:
    """How many profiles the answer is about."""
    return {"profiles": len(chosen.profile_ids)}


def _by() -> By:
    return "cum" if choice_arg("by", ("flat", "cum")) == "cum" else "flat"
