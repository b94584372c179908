from __future__ import annotations

import time

import duckdb
import pytest

from diagnose.pprof.codec import decode, encode
from diagnose.pprof.columns import FRAMES, FUNCTIONS, NODES, SAMPLES, STACKS, to_columns
from diagnose.pprof.profile import Frame, Profile, Sample, ValueType
from diagnose.pprof.top import top
from tests.pprof.conftest import KINDS
from tests.pprof.small import CPU, RECORDED, cpu_profile, frames_of, generated

TOP = """
WITH weighed AS MATERIALIZED (SELECT stack_id, sum("values"[$value]) AS value FROM samples GROUP BY stack_id),
unnested AS (
  SELECT unnest(nodes) AS node_id, leaf_id, value FROM weighed JOIN stacks USING (stack_id) WHERE value <> 0
)
SELECT name, coalesce(sum(value) FILTER (node_id = leaf_id), 0), coalesce(sum(value) FILTER (outer_most), 0)
FROM unnested JOIN nodes USING (node_id) JOIN functions USING (function_id)
GROUP BY name
"""


FUNCTION_IDS = [328562653701513493, 2069042349549965138]
NODE_IDS = [161095025521092249, 3842518570984169795]
STACK_IDS = [5239618161462281973]


def assert_sql_agrees(profile: Profile) -> None:
    """Flat and cum computed by SQL over the tables equal those computed over the samples."""
    tables = to_columns(profile)
    with duckdb.connect() as connection:
        for name in ("functions", "frames", "nodes", "stacks", "samples"):
            connection.register(name, getattr(tables, name))
        for at, value_type in enumerate(profile.sample_types, start=1):
            rows = connection.execute(TOP, {"value": at}).fetchall()
            expected = {each.name: (each.flat, each.cum) for each in top(profile, value_type.type).functions}

            assert expected == {name: (flat, cum) for name, flat, cum in rows if flat or cum}


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_recorded_profiles_keep_flat_and_cum_in_sql(file):
    assert_sql_agrees(decode(file.read_bytes()))


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_shapes_keep_flat_and_cum_in_sql(kind, go_profiles):
    assert_sql_agrees(decode(go_profiles[kind].read_bytes()))


def test_the_tables_have_the_promised_columns_even_when_empty():
    for profile in (Profile(CPU), cpu_profile({"main.main": 1})):
        tables = to_columns(profile)
        schemas = [tables.functions.schema, tables.frames.schema, tables.nodes.schema, tables.stacks.schema]

        assert [FUNCTIONS, FRAMES, NODES, STACKS, SAMPLES] == [*schemas, tables.samples.schema]


def test_recursion_shows_in_outer_most_and_depth():
    nodes = to_columns(cpu_profile({"main.main > main.fib > main.fib": 1})).nodes.to_pylist()

    assert [(1, True), (2, True), (3, False)] == [(node["depth"], node["outer_most"]) for node in nodes]
    assert [None, nodes[0]["node_id"], nodes[1]["node_id"]] == [node["parent_id"] for node in nodes]


def test_a_stack_has_its_nodes_root_first_and_its_frames_leaf_first():
    tables = to_columns(cpu_profile({"main.main > main.work > runtime.memmove": 1}))
    names = {row["function_id"]: row["name"] for row in tables.functions.to_pylist()}
    nodes = {row["node_id"]: names[row["function_id"]] for row in tables.nodes.to_pylist()}
    frames = {row["frame_id"]: names[row["function_id"]] for row in tables.frames.to_pylist()}
    stack = tables.stacks.to_pylist()[0]

    assert ["main.main", "main.work", "runtime.memmove"] == [nodes[node] for node in stack["nodes"]]
    assert ["runtime.memmove", "main.work", "main.main"] == [frames[frame] for frame in stack["frames"]]
    assert ("runtime.memmove", "main.work") == (nodes[stack["leaf_id"]], names[stack["own_id"]])


def test_ids_are_the_same_for_ever():
    tables = to_columns(cpu_profile({"main.main > main.work": 1}))

    assert FUNCTION_IDS == tables.functions["function_id"].to_pylist()
    assert NODE_IDS == tables.nodes["node_id"].to_pylist()
    assert STACK_IDS == tables.stacks["stack_id"].to_pylist()


def test_a_comment_above_a_function_makes_a_new_function_but_no_new_node():
    old = Profile(CPU, (Sample((Frame("main.f", "main.go", 12, 10),), (1, 1)),))
    new = Profile(CPU, (Sample((Frame("main.f", "main.go", 13, 11),), (1, 1)),))
    before, after = to_columns(old), to_columns(new)

    assert before.nodes["node_id"] == after.nodes["node_id"]
    assert before.functions["function_id"] != after.functions["function_id"]
    assert 1 == to_columns(Profile(CPU, old.samples + new.samples)).nodes.num_rows


def test_equal_stack_ids_and_labels_become_one_row():
    labels = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "route": "/buy"}
    stacks = [frames_of("main.main"), frames_of("main.main"), frames_of("main.main > main.f")]
    samples = [Sample(frames, (1, 10), each) for frames in stacks for each in (labels, {}, labels)]
    rows = to_columns(Profile(CPU, tuple(samples))).samples.to_pylist()

    assert [[4, 40], [2, 20], [2, 20], [1, 10]] == [row["values"] for row in rows]
    assert ("4bf92f3577b34da6a3ce929d0e0e4736", None, [("route", "/buy")]) == (
        rows[0]["trace_id"],
        rows[0]["span_id"],
        rows[0]["labels"],
    )


def test_the_allocation_size_of_heap_profiles_is_folded_away():
    samples = (
        Sample(frames_of("main.f"), (5,), {}, {"bytes": 48}),
        Sample(frames_of("main.f"), (6,), {}, {"bytes": 64}),
        Sample(frames_of("main.f"), (7,), {}, {"latency": 3}),
    )
    rows = to_columns(Profile((ValueType("inuse_space", "bytes"),), samples)).samples.to_pylist()

    assert [([11], []), ([7], [("latency", 3)])] == [(row["values"], row["numbers"]) for row in rows]


def test_observations_are_kept_per_value_type_and_not_taken_away():
    heap = (ValueType("alloc_objects", "count"), ValueType("alloc_space", "bytes"))
    samples = (
        Sample(frames_of("main.f"), (2048, 2 * 2**20), {}, {"bytes": 1024}),
        Sample(frames_of("main.f"), (-1, -(2**20)), {}, {"bytes": 2**20}),
    )
    [row] = to_columns(Profile(heap, samples, period=524288)).samples.to_pylist()

    assert [2047, 2**20] == row["values"]
    assert [pytest.approx(4.0, abs=0.01)] * 2 == row["observations"]


def test_an_empty_stack_has_no_leaf():
    tables = to_columns(Profile(CPU, (Sample((), (5, 50)), Sample(frames_of("main.f"), (1, 1)))))

    assert [(None, None, [], [])] == [
        (row["leaf_id"], row["own_id"], row["nodes"], row["frames"])
        for row in tables.stacks.to_pylist()
        if row["leaf_id"] is None
    ]


def test_fifty_frames_deep_and_thousands_wide_is_laid_out_in_reasonable_time():
    body = encode(generated(5000))
    started = time.perf_counter()
    tables = to_columns(decode(body))

    assert time.perf_counter() - started < 5  # 0.3 s on a quiet machine
    assert tables.stacks.num_rows > 3000
