from __future__ import annotations

import json

from diagnose.pprof.codec import decode
from diagnose.pprof.export import folded, speedscope
from diagnose.pprof.profile import Frame, Profile, Sample
from tests.golden_files import assert_golden
from tests.pprof.small import CPU, RECORDED, cpu_profile, frames_of


def test_folded_stacks_run_from_the_root_and_add_up():
    profile = cpu_profile({"main.main > main.work": 20, "main.main": 1})
    again = profile.with_samples((*profile.samples, *profile.samples))

    assert "main.main 2\nmain.main;main.work 40\n" == folded(again, "samples")


def test_folded_stacks_of_a_recorded_profile():
    file = next(file for file in RECORDED if file.name == "cpu-profile.pb.gz")

    assert_golden("cpu-profile.folded.txt", folded(decode(file.read_bytes())))


def test_separators_inside_names_do_not_break_a_folded_line():
    odd = Profile(CPU, (Sample((Frame("main.F[a;b\nc]"),), (1, 1)), Sample((), (1, 2))))

    assert "(no frames) 2\nmain.F[a:b c] 1\n" == folded(odd)


def test_speedscope_has_every_stack_root_first_with_its_weight():
    profile = cpu_profile({"main.main > main.work": 20, "main.main": 1})
    content = json.loads(speedscope(profile, name="checkout"))
    shown = content["profiles"][0]
    names = [frame["name"] for frame in content["shared"]["frames"]]

    assert "https://www.speedscope.app/file-format-schema.json" == content["$schema"]
    assert ("sampled", "nanoseconds", 0, 210_000_000) == (
        shown["type"],
        shown["unit"],
        shown["startValue"],
        shown["endValue"],
    )
    assert [["main.main", "main.work"], ["main.main"]] == [[names[at] for at in stack] for stack in shown["samples"]]
    assert [200_000_000, 10_000_000] == shown["weights"]


def test_speedscope_leaves_out_what_it_cannot_show():
    profile = Profile(CPU, (Sample(frames_of("main.f"), (1, -5)), Sample(frames_of("main.g"), (1, 5))))

    assert [5] == json.loads(speedscope(profile))["profiles"][0]["weights"]
    assert "none" == json.loads(speedscope(profile, "samples"))["profiles"][0]["unit"]
