"""The JSON API about stored profiles: the files, their functions, flame graphs and differences."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import Blueprint, Response, request

from diagnose.errors import DecodeError, StoreError
from diagnose.pprof import filters
from diagnose.pprof.codec import decode
from diagnose.pprof.diff import diff
from diagnose.pprof.profile import Profile
from diagnose.pprof.shapes import diff_shape, top_shape
from diagnose.pprof.top import By, top
from diagnose.report.flamegraph import flame_data, render_page
from diagnose.store.db import Store
from diagnose.store.profiles import find_profiles, get_profile, profile_body
from diagnose.web.arguments import choice_arg, int_arg, label_args, required_arg, text_arg, time_arg
from diagnose.web.context import current_service
from diagnose.web.security import REPORT_POLICY, needs
from diagnose.web.shapes import answer

profiles = Blueprint("profiles", __name__, url_prefix="/api/v1")
SHOWN = 30
MAX_FUNCTIONS = 1_000_000


@dataclass(frozen=True)
class Chosen:
    """A stored profile, or the samples of it the query asks for."""

    profile: Profile
    profile_id: str
    kind: str


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
    chosen = _choose(current_service().store, profile_id)
    limit = int_arg("n", SHOWN, least=0, most=MAX_FUNCTIONS)
    result = top(chosen.profile, text_arg("value"), by=_by(), limit=limit)
    return answer(top_shape(result, profile_id=profile_id, kind=chosen.kind))


@profiles.get("/flamegraph")
@needs("read")
def flamegraph() -> Response:
    """The data of report/flamegraph.py, or with `format=html` the whole page; with `base` the difference to that."""
    store = current_service().store
    chosen = _choose(store, required_arg("profile"))
    base = _choose(store, base_id).profile if (base_id := text_arg("base")) else None
    if base:
        _check_value(base, _value_name(chosen.profile), "base")
    if choice_arg("format", ("json", "html")) != "html":
        return answer(flame_data(chosen.profile, base, text_arg("value")))
    title = f"{chosen.kind} · {chosen.profile_id}"
    page = Response(render_page(chosen.profile, base, title=title, value_type=text_arg("value")))
    page.headers["Content-Security-Policy"] = REPORT_POLICY
    return page


@profiles.get("/diff")
@needs("read")
def difference() -> Response:
    """What changed from `base` to `new` per function, with significance."""
    store = current_service().store
    base, new = _choose(store, required_arg("base")), _choose(store, required_arg("new"))
    name = _value_name(new.profile)
    _check_value(base.profile, name, "base")
    result = diff(
        base.profile, new.profile, name, by=_by(), relative=choice_arg("relative", ("true", "false")) == "true"
    )
    limit = int_arg("n", SHOWN, least=0, most=MAX_FUNCTIONS)
    return answer(
        diff_shape(result, profile_id=new.profile_id, base_profile_id=base.profile_id, kind=new.kind, limit=limit)
    )


def _choose(store: Store, profile_id: str) -> Chosen:
    """Raises NotFound; DecodeError when the value type or the pattern is none."""
    kind = get_profile(store, profile_id)["kind"]
    try:
        profile = decode(profile_body(store, profile_id))
    except DecodeError as err:  # it was readable when it came: not the asker's mistake
        raise StoreError(f"{profile_id} cannot be read: {err}") from err
    _check_value(profile, text_arg("value"), "value")
    if trace_id := text_arg("trace_id"):
        profile = filters.by_trace(profile, trace_id)
    if span_id := text_arg("span_id"):
        profile = filters.by_span(profile, span_id)
    for key, value in label_args().items():
        profile = filters.by_label(profile, key, value)
    try:
        return Chosen(filters.focus(profile, request.args.get("focus", "")), profile_id, kind)
    except re.error as err:
        raise DecodeError(f"focus is no regular expression: {err}", field="focus") from err


def _check_value(profile: Profile, value_type: str | None, field: str) -> None:
    try:
        profile.value_index(value_type)
    except KeyError as err:
        raise DecodeError(str(err.args[0]), field=field) from err


def _value_name(profile: Profile) -> str:
    return profile.sample_types[profile.value_index(text_arg("value"))].type


def _by() -> By:
    return "cum" if choice_arg("by", ("flat", "cum")) == "cum" else "flat"
