"""The page in a real browser: readable by everyone, at every width, without a network, whatever is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from diagnose.report.render import render_html
from tests import report_sample

pytestmark = pytest.mark.browser
REPORTS = {"full": report_sample.full, "bare": report_sample.bare, "hostile": report_sample.hostile}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    for name, make in REPORTS.items():
        (folder / f"{name}.html").write_text(render_html(make()), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in REPORTS}


class Opened:
    """A page, and whatever went wrong in it."""

    def __init__(self, browser: Browser, file: Path, width: int, scheme: str) -> None:
        self.wrong: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: request.url == file.as_uri() or self.wrong.append(request.url))
        self.page.goto(file.as_uri())


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
@pytest.mark.parametrize("name", REPORTS)
def test_everyone_can_read_it_at_every_width(browser, files, name, width, scheme):
    opened = Opened(browser, files[name], width, scheme)
    opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = Axe().run(opened.page).response["violations"]

    assert [] == [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert [] == opened.wrong
    opened.page.close()


@pytest.fixture
def full(browser: Browser, files: dict[str, Path]) -> Iterator[Page]:
    opened = Opened(browser, files["full"], 1200, "light")
    yield opened.page
    opened.page.close()
    assert [] == opened.wrong


def test_the_verdict_and_its_numbers_are_on_the_first_screen(full):
    for text in ("71 % of on-CPU time is in", "CPU in match", "webhook → this cause", "fired 10:04:30"):
        box = full.get_by_text(text).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900


def test_one_flame_graph_is_shown_and_another_can_be_chosen(full):
    assert ["cpu"] == full.eval_on_selector_all("[data-panel]:not([hidden])", "all => all.map(e => e.dataset.panel)")

    full.get_by_label("profile", exact=True).select_option("mutex")
    canvas = full.locator('[data-panel="mutex"] canvas')

    assert ["mutex"] == full.eval_on_selector_all("[data-panel]:not([hidden])", "all => all.map(e => e.dataset.panel)")
    full.wait_for_function("e => e.getBoundingClientRect().width > 900", arg=canvas.element_handle())
    full.wait_for_function("e => e.width > 900", arg=canvas.element_handle())


def test_the_sql_behind_a_sentence_opens_with_the_keyboard(full):
    full.get_by_text("SQL behind this sentence").first.focus()
    full.keyboard.press("Enter")

    assert full.get_by_text("FROM profile_diff('cpu-before', 'cpu-during', 'cpu')").first.is_visible()
    assert full.get_by_role("link", name="Run it in the SQL console").first.is_visible()


def test_every_control_can_be_reached_with_the_tab_key(full):
    reached = set()
    for _ in range(60):
        full.keyboard.press("Tab")
        reached.add(full.evaluate("document.activeElement.tagName"))

    assert {"A", "SUMMARY", "SELECT", "INPUT", "BUTTON", "CANVAS"} <= reached


def test_paper_is_white_and_shows_no_controls(full):
    full.emulate_media(media="print", color_scheme="dark")

    assert "rgb(255, 255, 255)" == full.evaluate("getComputedStyle(document.body).backgroundColor")
    assert "rgb(27, 29, 34)" == full.evaluate("getComputedStyle(document.body).color")
    assert not full.get_by_text("SQL behind this sentence").first.is_visible()
    assert full.locator("canvas").first.is_visible()
