"""
What an incident looks like to people: one page, Markdown for an issue, JSON for programs.

    shape                 what a report holds
    incident              stored rows → a report; rows, alert, flames, traces, instances, captures, missing: its parts
    series, chart         the number an alert watches, and its drawing
    render, text          a report → HTML, Markdown, JSON
    flamegraph            a profile → what static/flame.js draws
"""
