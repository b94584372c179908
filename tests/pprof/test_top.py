from __future__ import annotations

from pathlib import Path

import pytest

from diagnose.pprof import filters
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.diff import diff
from diagnose.pprof.profile import Profile
from diagnose.pprof.top import peek, top
from diagnose.pprof.tree import build_tree
from tests.pprof.conftest import KINDS
from tests.pprof.go_pprof import go_peek, go_top
from tests.pprof.small import RECORDED, cpu_profile, generated


def ours(profile: Profile, value_type: str) -> dict[str, tuple[int, int]]:
    return {function.name: (function.flat, function.cum) for function in top(profile, value_type).functions}


def assert_equal_to_go(file: Path) -> None:
    profile = decode(file.read_bytes())
    for value_type in profile.sample_types:
        assert go_top(file, *_flags(value_type)) == ours(profile, value_type.type)


def _flags(value_type) -> tuple[str, str]:
    return value_type.type, value_type.unit


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_flat_and_cum_of_recorded_profiles_equal_go_tool_pprof(file):
    assert_equal_to_go(file)


@pytest.mark.parametrize("kind", KINDS)
def test_flat_and_cum_of_unusual_shapes_equal_go_tool_pprof(kind, go_profiles):
    assert_equal_to_go(go_profiles[kind])


def test_flat_and_cum_of_a_big_profile_equal_go_tool_pprof(tmp_path):
    file = tmp_path / "big.pb.gz"
    file.write_bytes(encode(generated(3000, functions=300)))

    assert_equal_to_go(file)


@pytest.mark.parametrize("kind", ["cpu", "allocs", "goroutine", "block"])
def test_callers_and_callees_equal_go_tool_pprof(kind, go_profiles):
    profile = decode(go_profiles[kind].read_bytes())
    value_type = profile.sample_types[profile.value_index()]
    found = peek(profile, ".")

    assert go_peek(go_profiles[kind], *_flags(value_type)) == {
        each.function.name: (
            {edge.name: edge.value for edge in each.callers},
            {edge.name: edge.value for edge in each.callees},
        )
        for each in found
    }


def test_a_filtered_export_has_the_totals_go_tool_pprof_gets_by_filtering(go_profiles, tmp_path):
    file = go_profiles["cpu"]
    profile = decode(file.read_bytes())
    focused, labelled = tmp_path / "focused.pb.gz", tmp_path / "labelled.pb.gz"
    focused.write_bytes(encode(filters.focus(profile, "leafWork|ring")))
    labelled.write_bytes(encode(filters.by_label(profile, "route", "/route/1")))
    by_trace = filters.by_trace(profile, f"F{3:031x}")

    assert go_top(file, "cpu", "nanoseconds", "-focus=leafWork|ring") == go_top(focused, "cpu", "nanoseconds")
    assert go_top(file, "cpu", "nanoseconds", "-tagfocus=route=/route/1") == go_top(labelled, "cpu", "nanoseconds")
    assert go_top(file, "cpu", "nanoseconds", f"-tagfocus=trace_id=f{3:031x}") == ours(by_trace, "cpu")
    assert 0 < by_trace.total() < profile.total()


def test_a_written_profile_is_read_by_go_tool_pprof_with_the_same_values(go_profiles, tmp_path):
    for kind, file in go_profiles.items():
        profile = decode(file.read_bytes())
        again = tmp_path / f"{kind}.pb.gz"
        again.write_bytes(encode(profile))
        value_type = profile.sample_types[profile.value_index()]

        assert go_top(file, *_flags(value_type)) == go_top(again, *_flags(value_type))


def test_a_difference_equals_go_tool_pprof_diff_base(tmp_path):
    by_name = {file.name: file for file in RECORDED}
    base, new = by_name["cpu-heap.pb.gz"], by_name["leak-heap.pb.gz"]
    changes = diff(decode(base.read_bytes()), decode(new.read_bytes()), "inuse_space", own_work=True).functions

    expected = go_top(new, "inuse_space", "bytes", f"-diff_base={base}")
    assert expected == {
        each.name: (each.flat, each.cum) for each in changes if each.flat or each.cum or each.name in expected
    }


def test_recursion_counts_once_in_cum():
    found = top(cpu_profile({"main.main > main.fib > main.fib > main.fib": 3, "main.main": 2}), "samples")

    assert [("main.fib", 3, 3), ("main.main", 2, 5)] == [(each.name, each.flat, each.cum) for each in found.functions]


def test_the_default_value_is_the_last_one_unless_the_profile_names_another(go_profiles):
    assert "inuse_space" == top(decode(go_profiles["heap"].read_bytes())).value_type.type
    assert "alloc_space" == top(decode(go_profiles["allocs"].read_bytes())).value_type.type


def test_an_unknown_value_type_is_refused_with_those_there_are():
    with pytest.raises(KeyError, match="samples, cpu"):
        top(cpu_profile({"main.main": 1}), "inuse_space")


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_adds_up_to_the_same_as_the_samples(kind, go_profiles):
    profile = decode(go_profiles[kind].read_bytes())
    for value_type in profile.sample_types:
        tree = build_tree(profile, value_type.type)
        tree.self_check()

        assert profile.total(value_type.type) == tree.total == sum(node.self_value for node in tree.nodes)
