from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from diagnose.store.db import Store
from tests.builders import webhook
from tests.serving import Serving, serving
from tests.test_web_api import alert, publish

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Store.open(tmp_path_factory.mktemp("store")) as store, serving(store) as running:
        yield running


@pytest.fixture(scope="module")
def reported(web: Serving) -> str:
    [incident_id] = web.post("/webhook", webhook(alert(job="checkout"))).json["incidents"]
    publish(web.store, incident_id, 1)
    publish(web.store, incident_id, 2)
    return incident_id


@pytest.fixture(scope="module")
def waiting(web: Serving) -> str:
    [incident_id] = web.post("/webhook", webhook(alert(job=HOSTILE))).json["incidents"]
    return incident_id


def test_without_incidents_the_first_page_says_how_to_get_one(store):
    with serving(store) as empty:
        page = empty.get("/")

    assert "No incident so far" in page.text
    assert "diagnose simulate" in page.text


def test_the_list_shows_the_cause_and_links_to_the_report(web, reported):
    page = web.get("/").text

    assert f'<a href="/incidents/{reported}">' in page
    assert "71 % of CPU time is in match" in page
    assert "No incident is resolved" in web.get("/?status=resolved").text


def test_what_others_sent_is_escaped(web, waiting):
    hostile = quote(HOSTILE, safe="")
    for path in ("/", f"/incidents/{waiting}", f"/incidents/{hostile}", f"/sql?q={hostile}"):
        page = web.get(path).text
        assert HOSTILE not in page
        assert "&lt;img src=x" in page


def test_an_incident_is_its_newest_report(web, reported):
    assert "<title>2</title>" in web.get(f"/incidents/{reported}").text
    assert "<title>1</title>" in web.get(f"/incidents/{reported}?revision=1").text
    assert 404 == web.get(f"/incidents/{reported}?revision=7").status


def test_before_the_first_report_the_page_comes_again_by_itself(web, waiting):
    page = web.get(f"/incidents/{waiting}")

    assert (200, "2") == (page.status, page.headers["Refresh"])
    assert "the first report is being written" in page.text


def test_an_error_is_a_page_too(web):
    page = web.get("/incidents/inc-none")

    assert (404, "text/html") == (page.status, page.headers.get_content_type())
    assert "no incident inc-none" in page.text


def test_the_console_shows_rows(web, reported):
    query = quote("SELECT incident_id, NULL AS nothing FROM incidents WHERE service_name = 'checkout'")
    page = web.get(f"/sql?q={query}")

    assert 200 == page.status
    assert f"<td>{reported}</td><td>NULL</td>" in page.text
    assert "1 row " in page.text


def test_the_console_shows_what_is_wrong_with_a_query(web):
    page = web.get("/sql?q=" + quote("SELECT nothing_like_it"))

    assert 400 == page.status
    assert "nothing_like_it" in page.text


def test_a_query_is_not_run_inside_another_page(web):
    page = web.get("/sql?q=SELECT+42", Sec_Fetch_Dest="iframe").text

    assert "SELECT 42" in page
    assert "<td>42</td>" not in page


def test_the_console_asks_saved_queries_with_parameters(web, reported):
    page = web.get("/sql?saved=firing&param.service=checkout").text

    assert "What is firing, and since when?" in page
    assert f"<td>{reported}</td>" in page
    assert 'name="param.service" value="checkout"' in page
    assert "0 rows" in web.get("/sql?saved=firing&param.service=nobody").text
    assert 404 == web.get("/sql?saved=no-such").status


def test_a_saved_query_may_be_changed_before_it_is_asked(web, reported):
    page = web.get("/sql?saved=firing&param.service=checkout&q=" + quote("SELECT $service AS changed")).text

    assert "<td>checkout</td>" in page


def test_queries_are_written_down(web):
    web.get("/sql?q=SELECT+4711")
    web.store.control.run(lambda _: None)  # queued behind the entry

    found = web.store.row("SELECT who, outcome, row_count FROM sql_audit WHERE sql = 'SELECT 4711'")
    assert ("anybody", "done", 1) == tuple(found.values())


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    installed = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


@pytest.mark.browser
@pytest.mark.parametrize(
    "path", ["/", "/sql?q=SELECT+1+AS+a", "/sql?saved=incidents", "/incidents/{waiting}", "/incidents/inc-none"]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable_for_everybody(web, waiting, page, path, scheme):
    page.emulate_media(color_scheme=scheme)
    for width in (1200, 400):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(web.url + path.format(waiting=waiting))
        assert width == page.evaluate("document.documentElement.scrollWidth")

    assert [] == [each["id"] for each in Axe().run(page).response["violations"]]
