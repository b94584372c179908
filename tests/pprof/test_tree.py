from __future__ import annotations

from dataclasses import replace

import pytest

from diagnose.pprof import tree as trees
from diagnose.pprof.codec import decode
from diagnose.pprof.profile import Profile, Sample
from diagnose.pprof.tree import build_tree, diff_trees, drop_small, focus, hide_runtime, set_profiler_apart
from tests.golden_files import assert_golden
from tests.pprof.small import CPU, RECORDED, TICK_NS, cpu_profile, frames_of

PATHS = {
    "runtime.main > main.main > main.work > runtime.mallocgc > runtime.memclr": 5,
    "runtime.main > main.main > main.work": 10,
    "runtime.main > main.main > main.work > main.work": 2,
    "runtime.main > main.main": 1,
    "net/http.(*conn).serve > net/http/pprof.Profile > runtime/pprof.StartCPUProfile": 3,
}


def checked(tree: trees.Tree) -> trees.Tree:
    tree.self_check()
    return tree


def test_samples_become_a_tree_by_function_name():
    assert_golden("tree.txt", checked(build_tree(cpu_profile(PATHS))).dump(TICK_NS))


def test_the_profilers_own_work_is_set_apart():
    assert_golden("tree-profiler-apart.txt", checked(set_profiler_apart(build_tree(cpu_profile(PATHS)))).dump(TICK_NS))


def test_the_runtime_can_be_hidden_and_nothing_is_lost():
    tree = checked(build_tree(cpu_profile(PATHS)))
    hidden = checked(hide_runtime(tree))

    assert tree.total == hidden.total
    assert_golden("tree-without-runtime.txt", hidden.dump(TICK_NS))


def test_focus_keeps_whole_paths_through_the_match():
    focused = checked(focus(build_tree(cpu_profile(PATHS)), "mallocgc|memclr"))

    assert 5 * TICK_NS == focused.total
    assert ["all", "runtime.main", "main.main", "main.work", "runtime.mallocgc", "runtime.memclr"] == [
        node.function for node in focused.nodes
    ]


def test_focus_also_looks_at_files():
    assert 18 * TICK_NS == focus(build_tree(cpu_profile(PATHS)), r"^main/file\.go$").total


def test_small_nodes_are_gathered_per_parent_and_sums_stay_exact():
    paths = {f"main.main > main.f{number} > main.g": 1 for number in range(50)} | {"main.main > main.big": 950}
    small = checked(drop_small(build_tree(cpu_profile(paths)), 0.01))

    assert "all 1000 0\n  main.main 1000 0\n    main.big 950 950\n    (small) 50 50\n" == small.dump(TICK_NS)


def test_what_was_big_before_is_not_small():
    tree = diff_trees(
        build_tree(cpu_profile({"main.gone": 90, "main.a": 10})), build_tree(cpu_profile({"main.a": 100}))
    )
    small = checked(drop_small(checked(tree), 0.05))

    assert "all 100 0 (before 100 0)\n  main.a 100 100 (before 10 10)\n  main.gone 0 0 (before 90 90)\n" == small.dump(
        TICK_NS
    )


def test_two_trees_become_one_with_both_values():
    base = build_tree(cpu_profile(PATHS))
    new = build_tree(cpu_profile({**PATHS, "runtime.main > main.main > main.match": 30}))
    both = checked(diff_trees(base, new))

    assert (base.total, new.total) == (both.base_total, both.total)
    assert_golden("tree-diff.txt", both.dump(TICK_NS))


def test_a_stack_of_ten_thousand_frames_is_no_danger():
    deep = " > ".join(f"main.f{number % 7}" for number in range(10_000))
    tree = checked(build_tree(cpu_profile({deep: 1})))

    assert 10_001 == len(tree.nodes)
    checked(drop_small(hide_runtime(focus(tree, "f3"))))


def test_empty_stacks_and_negative_values_keep_the_sums():
    profile = Profile(
        CPU, (Sample((), (1, 5)), Sample(frames_of("main.f"), (-1, -3)), Sample(frames_of("main.f > main.g"), (1, 3)))
    )

    assert 5 == checked(build_tree(profile)).total
    assert 0 == checked(build_tree(Profile(CPU))).total


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name)
def test_every_step_on_recorded_profiles_adds_up(file):
    profile = decode(file.read_bytes())
    tree = checked(build_tree(profile))
    for step in (
        hide_runtime,
        drop_small,
        set_profiler_apart,
        lambda each: focus(each, "main"),
        lambda each: diff_trees(each, tree),
    ):
        assert step(tree).total <= tree.total
        checked(step(tree))


def test_a_tree_that_does_not_add_up_is_noticed():
    tree = build_tree(cpu_profile(PATHS))
    nodes = (*tree.nodes[:-1], tree.nodes[-1]._replace(total=99))

    with pytest.raises(AssertionError, match="is not the sum"):
        replace(tree, nodes=nodes).self_check()
