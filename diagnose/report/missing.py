"""What a report cannot show, and how to have it next time. Only what explain and correlate have not said already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from diagnose.model import Capture, Note
from diagnose.report.shape import Flame, TraceRow


def what_is_missing(
    told: Iterable[Note], captures: Sequence[Capture], traces: Sequence[TraceRow], flames: Sequence[Flame]
) -> list[Note]:
    """The notes in *told*, then our own about subjects that none of them mentions."""
    notes = list(dict.fromkeys(told))
    words = " ".join(note.statement for note in notes).lower()
    return notes + [note for subject, note in _own(captures, traces, flames) if subject not in words]


def _own(
    captures: Sequence[Capture], traces: Sequence[TraceRow], flames: Sequence[Flame]
) -> Iterator[tuple[str, Note]]:
    """(word that tells the subject is known already, note)."""
    if not captures:
        yield (
            "profile",
            Note(
                "No profile was taken: none of the allowed targets belongs to these alerts.",
                "List the service under `targets` in diagnose.yaml; `diagnose check-config` shows what is wrong there.",
            ),
        )
    elif not any(each.status == "done" for each in captures):
        yield (
            "profile",
            Note(
                "No profile could be taken; the table of captures says why for each.", "Then open the incident again."
            ),
        )
    if not traces:
        yield (
            "trace",
            Note(
                "No trace was found for these alerts.",
                "Start Prometheus with `--enable-feature=exemplar-storage`, or send spans to `/v1/traces`.",
            ),
        )
    without_spans = sum(1 for each in traces if each.duration_ns is None)
    if without_spans:
        yield (
            "spans",
            Note(
                f"{without_spans} of {len(traces)} traces have no spans here: not arrived, sampled away or too old.",
                "Send all spans of this service to `/v1/traces`.",
            ),
        )
    if flames and flames[0].before is None:
        yield (
            "baseline",
            Note(
                f"There is no healthy {flames[0].kind} profile to compare with.",
                "It comes by itself: the setting `baseline` takes one after a minute of health and then hourly.",
            ),
        )
