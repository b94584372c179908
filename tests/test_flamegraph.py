from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from diagnose.pprof.codec import decode
from diagnose.pprof.profile import Frame, Profile, Sample, ValueType
from diagnose.pprof.tree import PROFILER, SMALL, build_tree
from diagnose.report.flamegraph import FlameRow, flame_data, flame_data_from_nodes, render_page, script, to_json
from tests.pprof.small import CPU, RECORDED, TICK_NS, cpu_profile

BEFORE = cpu_profile(
    {
        "net/http.(*conn).serve > main.checkout > main.match > main.levenshtein": 40,
        "net/http.(*conn).serve > main.checkout > main.reserve > net/http.(*Client).Do": 500,
        "net/http.(*conn).serve > main.checkout > main.encode": 300,
        "runtime.gcBgMarkWorker > runtime.gcDrain": 160,
    }
)
DURING = cpu_profile(
    {
        "net/http.(*conn).serve > main.checkout > main.match > main.levenshtein": 1400,
        "net/http.(*conn).serve > main.checkout > main.match > main.levenshtein > runtime.memmove": 50,
        "net/http.(*conn).serve > main.checkout > main.reserve > net/http.(*Client).Do": 180,
        "net/http.(*conn).serve > main.checkout > main.encode": 110,
        "runtime.gcBgMarkWorker > runtime.gcDrain": 160,
        "net/http.(*conn).serve > net/http/pprof.Index > runtime/pprof.writeGoroutine": 100,
    }
)


def named(data) -> list[tuple[str, int, int]]:
    """(function, total ticks, own ticks) in the order of the data."""
    nodes = data["nodes"]
    columns = zip(nodes["name"], nodes["total"], nodes["self"], strict=True)
    return [(data["strings"][name], total // TICK_NS, own // TICK_NS) for name, total, own in columns]


def test_nodes_are_arrays_over_a_table_of_strings_parents_first():
    data = flame_data(cpu_profile({"main.main > main.work": 20, "main.main": 5, "main.init": 1}))

    assert ("cpu", "nanoseconds", 26 * TICK_NS) == (data["type"], data["unit"], data["total"])
    assert [("all", 26, 0), ("main.main", 25, 5), ("main.work", 20, 20), ("main.init", 1, 1)] == named(data)
    assert [-1, 0, 1, 0] == data["nodes"]["parent"]
    assert "base_total" not in data


def test_a_comparison_has_both_values_and_names_what_changed_significantly():
    data = flame_data(DURING, BEFORE)
    changed = {data["strings"][at] for at in data["notable"]}

    assert {"main.match", "main.levenshtein", "main.reserve", "main.encode"} <= changed
    assert "runtime.gcDrain" not in changed
    assert 1000 * TICK_NS == data["base_total"] == data["nodes"]["base_total"][0]


def test_the_profilers_own_work_is_outside_the_total_and_comes_last():
    data = flame_data(DURING, BEFORE)
    at = [name for name, _, _ in named(data)].index(PROFILER)

    assert 1900 * TICK_NS == data["total"]
    assert 2000 * TICK_NS == data["nodes"]["total"][0]
    assert (0, 4) == (data["nodes"]["parent"][at], data["nodes"]["kind"][at])
    assert named(data)[-1][0] == "runtime/pprof.writeGoroutine"


def test_calls_too_small_to_draw_are_gathered():
    tail = {f"main.main > main.f{number}": 1 for number in range(3000)}
    data = flame_data(cpu_profile({"main.main > main.big": 3000, **tail}))

    assert [("all", 6000, 0), ("main.main", 6000, 0), ("main.big", 3000, 3000), (SMALL, 3000, 3000)] == named(data)


def test_the_data_of_recorded_profiles_is_small():
    for file in RECORDED:
        assert len(to_json(flame_data(decode(file.read_bytes())))) < 45_000


def test_rows_from_sql_give_the_same_data_as_the_profile():
    tree = build_tree(DURING)
    rows = [
        FlameRow(at, node.parent or None, node.function, node.file, False, False, node.total, node.self_value)
        for at, node in enumerate(tree.nodes)
        if at
    ]

    assert flame_data(DURING) == flame_data_from_nodes(reversed(rows), CPU[1])


def test_rows_the_query_left_out_are_shown_as_small():
    rows = [
        FlameRow(7, None, "main.main", "main.go", False, True, 100 * TICK_NS, 10 * TICK_NS, 50 * TICK_NS, 0),
        FlameRow(9, 7, "main.work", "main.go", False, True, 60 * TICK_NS, 60 * TICK_NS, 50 * TICK_NS, 50 * TICK_NS),
    ]
    data = flame_data_from_nodes(rows, CPU[1], notable=["main.work"])

    assert [("all", 100, 0), ("main.main", 100, 10), ("main.work", 60, 60), (SMALL, 30, 30)] == named(data)
    assert 50 * TICK_NS == data["base_total"]
    assert ["main.work"] == [data["strings"][at] for at in data["notable"]]


def test_no_rows_and_no_samples_are_no_error():
    assert [("all", 0, 0)] == named(flame_data_from_nodes([], CPU[1]))
    assert [("all", 0, 0)] == named(flame_data(Profile(CPU), Profile(CPU)))


HOSTILE = '</script><script>alert("1")</script><!-- \u2028 é 日本 & \' `'


def test_names_cannot_leave_the_script_element():
    profile = Profile(CPU, (Sample((Frame(HOSTILE, HOSTILE),), (1, TICK_NS)),))
    page = render_page(profile, title=HOSTILE)
    embedded = page.split('id="flame-data">')[1].split("</script>")[0]

    assert page.count("</script>") == 2
    assert HOSTILE in json.loads(embedded)["strings"]
    assert not set("<>&\u2028\u2029") & set(embedded)


def test_the_script_stays_small_and_needs_nothing_from_outside():
    assert len(script().encode()) <= 20_000
    page = render_page(cpu_profile({"main.main": 1}))

    assert [] == [word for word in ("://", "src=", "href=", "@import", "url(", "fetch(", "import(") if word in page]


@pytest.fixture
def flame(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    file = tmp_path / "flame.html"
    file.write_text(render_page(DURING, BEFORE, title="CPU"), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 500})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(file.as_uri())
    yield page
    page.close()
    assert [] == errors


def row(page: Page, number: int, across: float = 0.1) -> tuple[float, float]:
    """A point in a row of the graph; row 0 is `all`."""
    box = page.locator("canvas").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * across, box["y"] + 20 * number + 10


def crumbs(page: Page) -> list[str]:
    return page.locator(".fpath li").all_inner_texts()


@pytest.mark.browser
def test_a_click_zooms_in_and_the_path_leads_back(flame):
    flame.mouse.click(*row(flame, 3))

    assert ["all", "http.(*conn).serve", "main.checkout", "main.match"] == crumbs(flame)

    flame.get_by_role("button", name="main.checkout").click()

    assert ["all", "http.(*conn).serve", "main.checkout"] == crumbs(flame)

    flame.get_by_role("button", name="reset").click()

    assert ["all"] == crumbs(flame)


@pytest.mark.browser
def test_pointing_at_a_function_tells_before_during_and_change(flame):
    flame.mouse.move(*row(flame, 4))
    tip = flame.locator(".ftip").inner_text()

    assert "main.levenshtein" in tip
    assert ["total 400 ms 4.0 % 14.5 s 76 % +72.3 points", "self 400 ms 4.0 % 14 s 74 % +69.7 points"] == [
        " ".join(line.split()) for line in tip.splitlines() if line.startswith(("total", "self"))
    ]


@pytest.mark.browser
def test_search_says_the_share_before_and_during(flame):
    flame.get_by_role("searchbox").fill("levenshtein|memmove")

    assert "matched 4.0 % → 76 %" == flame.locator(".fhits").inner_text()

    flame.get_by_role("searchbox").fill("nowhere(")

    assert "no match" == flame.locator(".fhits").inner_text()


@pytest.mark.browser
def test_the_keyboard_reaches_every_function_and_says_where_it_is(flame):
    flame.locator("canvas").focus()
    said = []
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "Enter", "ArrowUp", "Escape"):
        flame.keyboard.press(key)
        said.append(flame.locator("[aria-live]").text_content().split(",")[0])

    assert [
        "net/http.(*conn).serve",
        "main.checkout",
        "main.match",
        "main.reserve",
        "main.reserve",
        "main.checkout",
        "all",
    ] == said
    assert ["all"] == crumbs(flame)


@pytest.mark.browser
def test_the_runtime_can_be_hidden_and_before_be_shown(flame):
    flame.get_by_role("button", name="hide runtime").click()
    flame.mouse.move(*row(flame, 1, across=0.93))

    assert not flame.locator(".ftip").is_visible()

    flame.get_by_label("what to show").select_option("before")
    flame.mouse.move(*row(flame, 3, across=0.3))

    assert "main.reserve" == flame.locator(".ftip b").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_on_every_box_can_be_read(flame, scheme):
    """No two neighbouring rows are one colour with their text: the canvas has ink and fill far apart."""
    flame.emulate_media(color_scheme=scheme)
    luminances = flame.evaluate(
        """() => {
          const pen = document.querySelector('canvas').getContext('2d');
          const pixels = pen.getImageData(5, 83, 120, 14).data, found = new Set();
          for (let at = 0; at < pixels.length; at += 4) found.add((pixels[at] + pixels[at + 1] + pixels[at + 2]) / 3);
          return [...found].sort((a, b) => a - b);
        }"""
    )

    assert luminances[-1] - luminances[0] > 100


@pytest.mark.browser
def test_a_narrow_window_loses_nothing(flame):
    flame.set_viewport_size({"width": 400, "height": 700})
    flame.mouse.move(*row(flame, 4))

    assert flame.evaluate("document.documentElement.scrollWidth") <= 400
    tip = flame.locator(".ftip").bounding_box()
    assert tip is not None
    assert tip["x"] + tip["width"] <= 400


def test_parents_stand_before_children_whatever_the_profile():
    for file in RECORDED:
        nodes = flame_data(decode(file.read_bytes()))["nodes"]

        assert all(parent < at for at, parent in enumerate(nodes["parent"]))
        assert all(len(one) == len(two) for one, two in pairwise(nodes.values()))


def test_the_value_type_can_be_chosen():
    heap = next(decode(file.read_bytes()) for file in RECORDED if file.name == "leak-heap.pb.gz")

    assert ("alloc_space", "bytes", heap.total("alloc_space")) == (
        flame_data(heap, value_type="alloc_space")["type"],
        flame_data(heap, value_type="alloc_space")["unit"],
        flame_data(heap, value_type="alloc_space")["nodes"]["total"][0],
    )
    assert ValueType("inuse_space", "bytes") == heap.sample_types[heap.value_index()]
