"""What SQL answers about a stored profile, held against `go tool pprof` on the same file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from diagnose.pprof.codec import decode, encode
from diagnose.pprof.diff import diff
from diagnose.pprof.parse import parse
from diagnose.pprof.profile import Profile, ValueType
from diagnose.pprof.subtract import subtract
from diagnose.pprof.top import top
from diagnose.pprof.wall import STATES
from diagnose.store.db import Store
from diagnose.store.profiles import save_profile
from tests.pprof.conftest import KINDS
from tests.pprof.go_pprof import go_peek, go_top
from tests.pprof.small import RECORDED, generated

LATER = ("heap", "mutex", "block")


class Stored:
    """Every profile of this folder's tests in one store; `files` and `ids` by name."""

    def __init__(self, store: Store, files: Mapping[str, Path]) -> None:
        self.store = store
        self.files = files
        self.ids = {name: self._save(file) for name, file in files.items()}

    def _save(self, file: Path) -> str:
        body = file.read_bytes()
        parsed = parse(body)
        stored = save_profile(
            self.store, parsed, body, service="shapes", instance=file.name, kind=parsed.kind, basis="interval"
        )
        return stored.profile_id

    def functions(self, name: str, value_type: str, **samples: str) -> dict[str, tuple[int, int]]:
        rows = self.store.rows(
            "SELECT function, flat, cum FROM merged_top_functions([$id], $value_type, trace_id := $trace_id, "
            "focus := $focus)",
            {"id": self.ids[name], "value_type": value_type, "trace_id": None, "focus": None, **samples},
        )
        return {row["function"]: (row["flat"], row["cum"]) for row in rows}

    def profile(self, name: str) -> Profile:
        return decode(self.files[name].read_bytes())


@pytest.fixture(scope="module")
def stored(go_profiles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("exact")
    big = folder / "big.pb.gz"
    big.write_bytes(encode(generated(3000, functions=300)))
    files = {**go_profiles, **{file.name: file for file in RECORDED}, "big": big}
    with Store.open(folder / "data") as store:
        yield Stored(store, files)


def flags(value_type: ValueType) -> tuple[str, str]:
    return value_type.type, value_type.unit


def default_type(profile: Profile) -> ValueType:
    return profile.sample_types[profile.value_index()]


@pytest.mark.parametrize("name", [*KINDS, *(file.name for file in RECORDED), "big"])
def test_flat_and_cum_in_sql_are_those_in_memory(name, stored):
    """Which test_top.py holds against go tool pprof, for the same files."""
    profile = stored.profile(name)
    for value_type in profile.sample_types:
        expected = {each.name: (each.flat, each.cum) for each in top(profile, value_type.type).functions}

        assert expected == stored.functions(name, value_type.type)


@pytest.mark.parametrize("name", KINDS)
def test_flat_and_cum_in_sql_equal_go_tool_pprof(name, stored):
    value_type = default_type(stored.profile(name))

    assert go_top(stored.files[name], *flags(value_type)) == stored.functions(name, value_type.type)


@pytest.mark.parametrize("name", ["cpu", "labels", "allocs", "block", "goroutineleak"])
def test_callers_and_callees_in_sql_equal_go_tool_pprof(name, stored):
    value_type = default_type(stored.profile(name))
    found = go_peek(stored.files[name], *flags(value_type))
    for function, (callers, callees) in list(found.items())[:40]:
        rows = stored.store.rows(
            "FROM profile_peek([$id], $function, $value_type)",
            {"id": stored.ids[name], "function": function, "value_type": value_type.type},
        )
        sides = [
            {row["function"]: row["value"] for row in rows if row["side"] == side} for side in ("caller", "callee")
        ]

        assert [callers, callees] == sides


def test_focus_and_tagfocus_in_sql_equal_go_tool_pprof(stored):
    trace = f"f{3:031x}"
    by_trace = stored.functions("cpu", "cpu", trace_id=trace)
    focused = stored.functions("cpu", "cpu", focus="leafWork|ring")
    one_of_many = next(s.labels["trace_id"] for s in stored.profile("labels").samples if "trace_id" in s.labels)

    assert go_top(stored.files["cpu"], "cpu", "nanoseconds", f"-tagfocus=trace_id={trace}") == by_trace
    assert go_top(stored.files["cpu"], "cpu", "nanoseconds", "-focus=leafWork|ring") == focused
    assert go_top(
        stored.files["labels"], "cpu", "nanoseconds", f"-tagfocus=trace_id={one_of_many}"
    ) == stored.functions("labels", "cpu", trace_id=one_of_many)


def without_zeros(functions: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {name: values for name, values in functions.items() if any(values)}


@pytest.mark.parametrize("kind", LATER)
def test_differences_equal_go_tool_pprof(kind, stored):
    """-base takes the earlier snapshot away, -diff_base compares: flat and cum are the same."""
    base, new = stored.files[kind], stored.files[f"{kind}-later"]
    before, after = stored.profile(kind), stored.profile(f"{kind}-later")
    value_type = default_type(after)
    grown = without_zeros(
        {each.name: (each.flat, each.cum) for each in top(subtract(after, before), value_type.type).functions}
    )
    changes = without_zeros(
        {each.name: (each.flat, each.cum) for each in diff(before, after, value_type.type, own_work=True).functions}
    )

    assert without_zeros(go_top(new, *flags(value_type), f"-base={base}")) == grown
    assert without_zeros(go_top(new, *flags(value_type), f"-diff_base={base}")) == changes


@pytest.mark.parametrize("kind", LATER)
def test_differences_in_sql_are_those_in_memory(kind, stored):
    value_type = default_type(stored.profile(kind)).type
    rows = stored.store.rows(
        "FROM profile_diff($base, $new, $value_type)",
        {"base": stored.ids[kind], "new": stored.ids[f"{kind}-later"], "value_type": value_type},
    )
    changes = diff(stored.profile(kind), stored.profile(f"{kind}-later"), value_type).functions

    assert {each.name: (each.base_flat, each.new_flat, each.flat, each.cum) for each in changes} == {
        row["function"]: (row["base_flat"], row["new_flat"], row["flat"], row["cum"]) for row in rows
    }


@pytest.mark.parametrize("name", ["cpu", "labels", "heap", "block"])
def test_source_lines_add_up_to_their_function(name, stored):
    value_type = default_type(stored.profile(name)).type
    for function, (flat, cum) in list(stored.functions(name, value_type).items())[:15]:
        lines = stored.store.rows(
            "FROM source_lines([$id], $function, $value_type)",
            {"id": stored.ids[name], "function": function, "value_type": value_type},
        )

        assert flat == sum(line["flat"] for line in lines)
        assert cum <= sum(line["cum"] for line in lines)


@pytest.mark.parametrize("name", ["cpu", "block"])
def test_both_sides_of_a_sandwich_weigh_what_the_function_does(name, stored):
    value_type = default_type(stored.profile(name)).type
    for function, (_, cum) in list(stored.functions(name, value_type).items())[:10]:
        rows = stored.store.rows(
            "FROM sandwich([$id], $function, $value_type)",
            {"id": stored.ids[name], "function": function, "value_type": value_type},
        )
        for side in ("callers", "callees"):
            mine = [row for row in rows if row["side"] == side]

            assert [cum] == [row["total"] for row in mine if row["path"] == [function]]
            assert cum == sum(row["self"] for row in mine)


def test_the_line_flame_graph_has_the_same_total(stored):
    for name in ("cpu", "goroutine", "big"):
        profile = stored.profile(name)
        rows = stored.store.rows(
            "FROM merged_line_flamegraph([$id], $value_type)",
            {"id": stored.ids[name], "value_type": default_type(profile).type},
        )

        assert (profile.total(), profile.total()) == (rows[0]["total"], sum(row["self"] for row in rows))


def test_states_in_sql_are_those_of_the_table(stored):
    rows = stored.store.rows(
        "SELECT name, runtime_state(name) AS state FROM (SELECT unnest($names) AS name)",
        {"names": [*STATES, "main.main"]},
    )

    assert {**STATES, "main.main": None} == {row["name"]: row["state"] for row in rows}


def test_goroutines_are_grouped_with_what_they_do(stored):
    groups = stored.store.rows("FROM goroutine_groups($id)", {"id": stored.ids["goroutine"]})
    waiting = {(row["state"], row["goroutines"]) for row in groups if row["trace_ids"]}

    assert {("chan receive", 5), ("chan send", 5)} == waiting
    assert {"select", "mutex", "waitgroup", "sleep"} <= {row["state"] for row in groups}
    assert stored.profile("goroutine").total() == sum(row["goroutines"] for row in groups)


def test_growth_of_a_heap_is_told_by_allocation_site(stored):
    rows = stored.store.rows(
        "FROM heap_growth($base, $new)", {"base": stored.ids["heap"], "new": stored.ids["heap-later"]}
    )
    biggest = rows[0]

    assert ("main.allocate", "main.allocate") == (biggest["function"], biggest["own_function"])
    assert 200 * 65536 * 0.9 <= biggest["growth"] <= 200 * 65536 * 1.1
    assert biggest["line"] > 0


def test_cpu_time_is_attributed_whole(stored):
    for name in ("cpu", "labels"):
        rows = stored.store.rows("FROM cpu_attribution([$id])", {"id": stored.ids[name]})
        by_route = stored.store.rows("FROM profile_by_label([$id], 'route')", {"id": stored.ids[name]})
        parts = {row["part"]: row["value"] for row in rows}

        assert stored.profile(name).total() == sum(parts.values())
        assert parts["requests"] > 0
        assert sum(row["value"] for row in by_route) == sum(parts.values()) - parts.get("diagnose itself", 0)


def test_the_trend_of_a_function_has_a_row_per_profile(stored):
    rows = stored.store.rows("FROM function_trend('shapes', 'cpu', 'main.leafWork')")
    by_id = {row["profile_id"]: row for row in rows}
    flat, cum = stored.functions("cpu", "cpu")["main.leafWork"]

    assert (flat, cum) == (by_id[stored.ids["cpu"]]["flat"], by_id[stored.ids["cpu"]]["cum"])
    assert {stored.ids["cpu"], stored.ids["labels"], stored.ids["big"]} <= set(by_id)
