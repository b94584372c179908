from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from diagnose.cli.profile import profile
from diagnose.errors import NotFound
from diagnose.pprof.codec import decode, encode
from tests.golden_files import assert_golden
from tests.pprof.small import TICK_NS, cpu_profile

DATA = Path(__file__).parent / "data" / "pprof"
CPU, HEAP, LEAK = str(DATA / "cpu-profile.pb.gz"), str(DATA / "cpu-heap.pb.gz"), str(DATA / "leak-heap.pb.gz")


def run(*arguments: object, obj: object = None) -> Result:
    return CliRunner().invoke(profile, [str(argument) for argument in arguments], obj=obj)


def answer(*arguments: object, obj: object = None) -> dict:
    result = run(*arguments, "--json", obj=obj)
    assert 0 == result.exit_code, result.output
    return json.loads(result.stdout)


def written(tmp_path: Path, name: str, counts: dict[str, int]) -> Path:
    file = tmp_path / f"{name}.pb.gz"
    file.write_bytes(encode(cpu_profile(counts)))
    return file


def test_top_prints_a_table():
    assert_golden("cli-top.txt", run("top", CPU, "-n", 12).stdout)


def test_top_as_json_has_the_documented_shape():
    found = answer("top", CPU, "-n", 1, "--by", "cum")

    assert [None, "cpu", "cpu", "nanoseconds"] == [found[key] for key in ("profile_id", "kind", "value_type", "unit")]
    assert decode(Path(CPU).read_bytes()).total() == found["total"]
    assert ["name", "file", "flat", "cum"] == list(found["functions"][0])
    assert "net/http.(*conn).serve" == found["functions"][0]["name"]


def test_top_shows_thirty_or_as_many_as_asked():
    everything = answer("top", CPU, "-n", 0)["functions"]

    assert len(everything) > 30
    assert everything[:30] == answer("top", CPU)["functions"]
    assert everything[:3] == answer("top", CPU, "-n", 3)["functions"]


def test_the_value_can_be_chosen():
    found = answer("top", HEAP, "--value", "alloc_objects")

    assert ("heap", "alloc_objects", "count") == (found["kind"], found["value_type"], found["unit"])
    assert "inuse_space" == answer("top", HEAP)["value_type"]


def test_samples_can_be_selected_by_trace_label_and_pattern():
    labels = {key: value for sample in decode(Path(CPU).read_bytes()).samples for key, value in sample.labels.items()}
    whole = answer("top", CPU)["total"]

    for option in (["--trace", labels["trace_id"]], ["--label", f"span_id={labels['span_id']}"], ["--focus", "Peek"]):
        assert 0 < answer("top", CPU, *option)["total"] < whole
    assert 0 == answer("top", CPU, "--trace", "f" * 32)["total"]


def test_peek_prints_callers_and_callees():
    assert_golden("cli-peek.txt", run("peek", CPU, r"main\.\(\*app\)\.step").stdout)
    found = answer("peek", CPU, r"main\.faultBurnCPU")["functions"][0]

    assert "main.faultBurnCPU" == found["name"]
    assert ["main.(*app).checkout.func1"] == [caller["name"] for caller in found["callers"]]
    assert "no function matches\n" == run("peek", CPU, "nothing like it").stdout


def test_diff_prints_flat_and_cum_and_marks_what_is_significant(tmp_path):
    base = written(tmp_path, "base", {"main.main > main.match": 60, "main.main > main.render": 940, "main.rare": 3})
    new = written(tmp_path, "new", {"main.main > main.match": 1400, "main.main > main.render": 600, "main.rare": 5})

    assert_golden("cli-diff.txt", run("diff", base, new).stdout)
    match = answer("diff", base, new)["functions"][0]
    assert {
        "name": "main.match",
        "file": "main/file.go",
        "flat": 1340 * TICK_NS,
        "cum": 1340 * TICK_NS,
        "base": {"flat": 60 * TICK_NS, "cum": 60 * TICK_NS},
        "new": {"flat": 1400 * TICK_NS, "cum": 1400 * TICK_NS},
        "delta": {"flat": pytest.approx(63.84, abs=0.01), "cum": pytest.approx(63.84, abs=0.01)},
        "z": pytest.approx(33.03, abs=0.01),
        "significant": True,
    } == match


def test_diff_of_real_heaps_runs_with_every_option():
    assert 0 == run("diff", HEAP, LEAK, "--relative", "--by", "cum", "--value", "inuse_space", "-n", 5).exit_code


def test_flame_writes_one_html_file(tmp_path):
    page = tmp_path / "page.html"

    assert 0 == run("flame", CPU, "-o", page).exit_code
    assert "main.faultBurnCPU" in page.read_text(encoding="utf-8")
    assert '"base_total"' in run("flame", LEAK, "--base", HEAP).stdout


def test_export_writes_what_other_tools_read(tmp_path):
    selected = tmp_path / "selected.pb.gz"
    run("export", CPU, "--focus", "Peek", "-o", selected)

    assert answer("top", CPU, "--focus", "Peek")["functions"] == answer("top", selected)["functions"]
    assert decode(Path(CPU).read_bytes()) == decode(run("export", CPU).stdout_bytes)
    assert "net/http.(*conn).serve;" in run("export", CPU, "--format", "folded").stdout
    assert "sampled" == json.loads(run("export", CPU, "--format", "speedscope").stdout)["profiles"][0]["type"]


def test_info_tells_what_a_profile_is():
    assert_golden("cli-info.txt", run("info", CPU).stdout)
    facts = answer("info", HEAP)

    assert ("heap", 4) == (facts["kind"], len(facts["value_types"]))
    assert [False, False, False, True] == [each["default"] for each in facts["value_types"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["top", "missing.pb.gz"], "no such file: missing.pb.gz"),
        (["top", "an-id"], "no such file: an-id"),
        (["top", str(DATA / "README.md")], "not a pprof profile"),
        (["top", CPU, "--value", "heap"], "no value type 'heap'; the profile has samples, cpu"),
        (["diff", HEAP, CPU], "no value type 'cpu'"),
        (["top", CPU, "--focus", "("], "not a regular expression"),
        (["peek", CPU, "["], "not a regular expression"),
        (["top", CPU, "--label", "route"], "key=value"),
        (["top", CPU, "-n", "-1"], "-1"),
        (["top", CPU, "--by", "name"], "name"),
        (["flame", CPU, "-o", "/no/such/folder/page.html"], "No such file or directory"),
    ],
)
def test_a_mistake_is_said_clearly_and_ends_with_2(arguments, said):
    result = run(*arguments)

    assert 2 == result.exit_code
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_an_id_is_fetched_from_the_server():
    asked = []

    def stored(profile_id: str) -> bytes:
        asked.append(profile_id)
        return Path(CPU).read_bytes()

    found = answer("top", "prf-1q2w3e", obj=SimpleNamespace(reader=SimpleNamespace(profile=stored)))

    assert (["prf-1q2w3e"], "prf-1q2w3e") == (asked, found["profile_id"])


def test_what_the_server_answers_instead_is_left_to_the_caller():
    def stored(profile_id: str) -> bytes:
        raise NotFound(f"no profile {profile_id}")

    result = run("top", "prf-gone", obj=SimpleNamespace(reader=SimpleNamespace(profile=stored)))

    assert isinstance(result.exception, NotFound)
