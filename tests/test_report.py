"""How a report looks; what is in it is tests/test_report_incident.py."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from diagnose.model import Note
from diagnose.report.render import MARKDOWN_LINES, render_html, render_json, render_markdown
from diagnose.report.shape import Report
from tests import report_sample
from tests.golden_files import assert_golden
from tests.report_sample import HOSTILE

REPORTS = {"full": report_sample.full, "bare": report_sample.bare, "hostile": report_sample.hostile}
every_report = pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS.keys())


class Page(HTMLParser):
    """Headings, links, scripts and the nesting of a page; fails on a tag that is never closed."""

    VOID = frozenset({"meta", "br", "col", "input", "link", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        assert [] == self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append((self.open[-1], data))
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_tells_the_verdict_first_and_then_what_proves_it():
    page = Page(render_html(report_sample.full()))

    assert [
        ("h1", "HighLatency · checkout"),
        ("h2", "The alert"),
        ("h2", "Findings"),
        ("h2", "Ruled out"),
        ("h2", "Not known"),
        ("h2", "Profiles, during against before"),
        ("h2", "Slowest trace"),
        ("h2", "A normal one"),
        ("h2", "Traces of this alert"),
        ("h2", "Instances"),
        ("h2", "What was captured, and what it cost"),
        ("h2", "Timeline"),
        ("h2", "Look further"),
    ] == page.headings
    text = " ".join("".join(page.text).split())
    assert text.index("71 % of on-CPU time is in") < text.index("The alert")


@every_report
def test_the_page_is_one_file_that_asks_for_nothing(make):
    html = render_html(make())
    page = Page(html)

    assert [] == [tag for tag in ("link", "img", "iframe", "object", "form", "base") if page.all(tag)]
    assert [] == [each for each in page.all("script") if "src" in each]
    assert [] == [word for word in ("@import", "url(", "fetch(", "import(", "XMLHttpRequest") if word in html]
    assert len(html.encode()) < 400_000


@every_report
def test_only_our_own_scripts_may_run(make):
    html = render_html(make())
    policy = next(each["content"] for each in Page(html).all("meta") if each.get("http-equiv"))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in scripts]

    assert 2 == len(scripts)
    assert policy is not None
    assert [f"script-src {' '.join(hashes)}"] == [
        part.strip() for part in policy.split(";") if part.strip().startswith("script-src")
    ]
    assert "default-src 'none'" in policy


@every_report
def test_links_lead_to_the_web_and_nowhere_else(make):
    links = [each["href"] for each in Page(render_html(make())).all("a")]

    assert [] == [link for link in links if not link or not link.startswith(("http://", "https://"))]


def test_every_table_names_its_columns():
    page = Page(render_html(report_sample.full()))

    assert all(each.get("scope") in ("col", "row") for each in page.all("th"))
    assert len(page.all("table")) == len(page.all("thead"))


def test_hostile_text_stays_text():
    html = render_html(report_sample.hostile())
    page = Page(html)

    assert [] == page.all("img")
    assert [] == [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert 3 == html.count("</script>")
    assert 3 == len(page.all("script"))
    assert "".join(page.text).count(HOSTILE.replace("`", "")[:20]) > 10


def test_hostile_text_stays_text_in_markdown_too():
    markdown = render_markdown(report_sample.hostile())
    outside_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown.replace("\\`", ""))

    assert [] == re.findall(r"(?<!\\)<|(?<!\\)\[x|@all", outside_code)
    assert [] == re.findall(r"^# big|^\s*#.*big.*\n#", markdown, re.MULTILINE)
    assert {6} == {len(re.findall(r"(?<!\\)\|", line)) for line in markdown.splitlines() if line.startswith("|")}


@every_report
def test_the_markdown_fits_into_an_issue(make):
    assert len(render_markdown(make()).splitlines()) <= MARKDOWN_LINES


def test_markdown_that_is_too_long_says_where_the_rest_is():
    report = report_sample.full()
    long = replace(report, findings=report.findings * 9, missing=tuple(Note(f"note {n}") for n in range(90)))
    lines = render_markdown(replace(long, ruled_out=long.missing, traces=report.traces * 40)).splitlines()

    assert len(lines) <= MARKDOWN_LINES


def test_a_report_with_nothing_says_plainly_what_is_missing_and_how_to_get_it():
    page = Page(render_html(report_sample.bare()))
    text = " ".join("".join(page.text).split())

    assert "No cause found yet. What would be needed and is not there:" in text
    assert "Prometheus at http://127.0.0.1:9090 did not answer. Check the setting prometheus" in text
    assert "no target of the allow-list belongs to these alerts. Add it to targets ." in text.replace(
        "targets.", "targets ."
    )
    assert ["HighLatency · checkout", "The alert", "Traces of this alert"] == [name for _, name in page.headings][:3]


@every_report
def test_no_box_is_empty(make):
    html = render_html(make())
    for card in re.findall(r'<div class="card">(.*?)</div>\s*</section>', html, re.DOTALL):
        assert re.sub(r"<[^>]*>|\s", "", card)


def test_a_resolved_incident_without_a_cause_does_not_promise_one():
    report = replace(report_sample.full(), findings=(), missing=())

    assert "No cause found.</b> Nothing that was measured differs from healthy time." in render_html(report)
    assert "**No cause found.** Nothing that was measured" in render_markdown(report)


def content(report: Report) -> dict:
    return json.loads(render_json(report))


def test_report_json_has_the_documented_keys():
    report = content(report_sample.full())

    assert {
        "schema_version",
        "incident",
        "verdict",
        "findings",
        "ruled_out",
        "missing_evidence",
        "timings_ms",
    } <= report.keys()
    assert 1 == report["schema_version"]
    assert report["verdict"] == report["findings"][0] == report["incident"]["findings"][0]
    assert [
        "rank",
        "kind",
        "statement",
        "subject",
        "effect",
        "significance",
        "confidence",
        "evidence",
        "sql",
    ] == list(report["findings"][0])
    assert ["value", "unit", "before", "during"] == list(report["findings"][0]["effect"])
    assert [
        "webhook_to_ack",
        "webhook_to_first_exemplar",
        "webhook_to_first_capture_request",
        "webhook_to_first_report",
        "webhook_to_cpu_report",
    ] == list(report["timings_ms"])


def test_report_json_of_nothing_has_the_same_keys():
    full, bare = content(report_sample.full()), content(report_sample.bare())

    assert full.keys() == bare.keys()
    assert None is bare["verdict"]
    assert {None} == set(bare["timings_ms"].values())


def test_what_is_no_number_in_json_is_left_out_of_it():
    report = report_sample.full()
    line = replace(report.chart.lines[0], points=((report_sample.ONSET, float("nan")), (report_sample.ONSET, 1.0)))
    finding = replace(report.findings[0], effect=replace(report.findings[0].effect, value=float("inf")))
    odd = replace(report, chart=replace(report.chart, lines=(line,)), findings=(finding,))
    found = json.loads(render_json(odd), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    assert [None, 1.0] == [value for _, value in found["chart"]["lines"][0]["points"]]
    assert None is found["verdict"]["effect"]["value"]
    assert "NaN" not in render_html(odd)


def test_the_markdown_reads_well():
    assert_golden("report.md", render_markdown(report_sample.full()))
    assert_golden("report-bare.md", render_markdown(report_sample.bare()))


def test_report_json_reads_well():
    report = report_sample.full()
    assert_golden("report.json", render_json(replace(report, chart=None)))
