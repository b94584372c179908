from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from diagnose.errors import DecodeError
from diagnose.pprof.codec import decode, encode
from diagnose.pprof.columns import FRAMES, FUNCTIONS, NODES, SAMPLES, STACKS
from diagnose.pprof.parse import parse, to_columns
from diagnose.pprof.profile import Frame, Profile, Sample, ValueType
from diagnose.pprof.top import top
from tests.pprof.conftest import KINDS
from tests.pprof.small import CPU, RECORDED, cpu_profile, frames_of

TOP = """
WITH weighed AS MATERIALIZED (SELECT stack AS place, sum("values"[$value]) AS value FROM samples GROUP BY stack),
unnested AS (
  SELECT unnest(nodes) AS node, leaf, value FROM weighed JOIN stacks USING (place) WHERE value <> 0
)
SELECT name, coalesce(sum(value) FILTER (node = leaf), 0), coalesce(sum(value) FILTER (outer_most), 0)
FROM unnested JOIN nodes ON nodes.place = node JOIN functions ON functions.place = nodes.function
GROUP BY name
"""


FUNCTION_IDS = [328562653701513493, 2069042349549965138]
FRAME_IDS = [4762376560808464725, 1476509339899008698]
NODE_IDS = [1606778688472236687, 3096662538947861126]
STACK_IDS = [450722125845041869]


def assert_sql_agrees(profile: Profile) -> None:
    """Flat and cum computed by SQL over the tables equal those computed over the samples."""
    tables = to_columns(profile)
    with duckdb.connect() as connection:
        for name in ("functions", "frames", "nodes", "stacks", "samples"):
            table = getattr(tables, name)
            connection.register(name, table.append_column("place", pa.array(range(table.num_rows), pa.int32())))
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
    assert [None, 0, 1] == [node["parent"] for node in nodes]


def test_a_stack_has_its_nodes_root_first_and_its_frames_leaf_first():
    tables = to_columns(cpu_profile({"main.main > main.work > runtime.memmove": 1}))
    names = tables.functions["name"].to_pylist()
    nodes = [names[function] for function in tables.nodes["function"].to_pylist()]
    frames = [names[function] for function in tables.frames["function"].to_pylist()]
    stack = tables.stacks.to_pylist()[0]

    assert ["main.main", "main.work", "runtime.memmove"] == [nodes[node] for node in stack["nodes"]]
    assert ["runtime.memmove", "main.work", "main.main"] == [frames[frame] for frame in stack["frames"]]
    assert ("runtime.memmove", "main.work") == (nodes[stack["leaf"]], names[stack["own"]])


def test_ids_are_the_same_for_ever():
    tables = to_columns(cpu_profile({"main.main > main.work": 1}))

    assert FUNCTION_IDS == tables.functions["function_id"].to_pylist()
    assert FRAME_IDS == tables.frames["frame_id"].to_pylist()
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
    assert ("4bf92f3577b34da6a3ce929d0e0e4736", None, '{"route":"/buy"}') == (
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

    assert [([11], "{}"), ([7], '{"latency":3}')] == [(row["values"], row["numbers"]) for row in rows]


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
        (row["leaf"], row["own"], row["nodes"], row["frames"])
        for row in tables.stacks.to_pylist()
        if row["leaf"] is None
    ]


def test_more_value_types_than_can_be_numbered_are_refused():
    types = tuple(ValueType(f"type{number}", "count") for number in range(65))

    assert 64 == len(parse(encode(Profile(types[:64]))).value_types)
    with pytest.raises(DecodeError, match="more than 64 value types"):
        parse(encode(Profile(types)))
