"""A store with one incident and all that belongs to it, and things that do not."""

from __future__ import annotations

from datetime import timedelta

from diagnose.model import Effect, Exemplar, Finding, IncidentKey, Note, Subject, TraceRef, from_unix_ns
from diagnose.pprof.codec import decode
from diagnose.pprof.kinds import guess_kind
from diagnose.receive.otlp import PROTOBUF, decode_metrics, decode_traces
from diagnose.store.alerts import save_group
from diagnose.store.db import Store
from diagnose.store.incidents import add_timeline, save_timing, save_traces
from diagnose.store.metrics import save_exemplars, save_metrics, save_series
from diagnose.store.profiles import save_profile
from diagnose.store.reports import save_revision
from diagnose.store.spans import save_spans
from tests.builders import alert, group
from tests.otlp import RECORDED as OTLP
from tests.otlp import START_NS, span, traces
from tests.pprof.small import RECORDED, cpu_profile
from tests.recorded_incident import open_incident, save_capture

START = from_unix_ns(START_NS)
TELEMETRY_VIEWS = ("spans", "metrics", "histograms", "exemplars", "profiles", "profile_samples")
CONTROL_VIEWS = ("incidents", "alerts", "alert_events", "incident_traces", "captures", "findings", "deliveries")
CALLS = (
    "timeline('{incident}')",
    "trace('{trace}')",
    "span_cpu('{trace}')",
    "top_functions('{new}', 'cpu')",
    "flamegraph('{new}', 'cpu')",
    "profile_diff('{base}', '{new}', 'cpu')",
    "compare_attributes('checkout', TIMESTAMPTZ '2026-11-24', TIMESTAMPTZ '2026-11-25')",
    "service_map(TIMESTAMPTZ '2026-11-24', TIMESTAMPTZ '2026-11-25')",
)


def calls(filled: Filled) -> list[str]:
    """The macros of CALLS with the names of this store."""
    names = {name: getattr(filled, name) for name in ("incident", "trace", "base", "new")}
    return [call.format(**names) for call in CALLS]


class Filled:
    """One incident of `checkout` about recorded telemetry, and things that do not belong to it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        for name in ("cpu", "error"):
            save_spans(store, decode_traces((OTLP / f"{name}-traces.bin").read_bytes(), PROTOBUF))
            save_metrics(store, decode_metrics((OTLP / f"{name}-metrics.bin").read_bytes(), PROTOBUF))
        save_spans(store, decode_traces(traces(span("00000000000000aa", start_s=-3600)), PROTOBUF))
        save_spans(store, decode_traces(traces(span("00000000000000ab"), service="unrelated"), PROTOBUF))
        self.incident = open_incident(store, START + timedelta(seconds=8), START + timedelta(minutes=2))
        self.other = self._unrelated_incident()
        self.trace = self._trace()
        save_traces(
            store, self.incident, [TraceRef(self.trace, "exemplar", 1.0), TraceRef("cd" * 16, "span_search", 0.5)]
        )
        self.base = self._capture(None, "error-profile.pb.gz", trigger="baseline", at=START - timedelta(hours=1))
        self.new = self._capture(self.incident, "cpu-profile.pb.gz", trigger="alert", at=START + timedelta(seconds=9))
        self.unrelated = save_profile(
            store,
            cpu_profile({"other.main": 1}),
            b"other",
            service="unrelated",
            instance="",
            kind="cpu",
            basis="interval",
        ).profile_id
        labels = {"job": "checkout"}
        save_series(store, "up", "", "checkout", [(labels, [(START - timedelta(hours=5), 1.0)])])
        save_exemplars(store, [Exemplar("latency", labels, self.trace, "", 0.5, START)])
        self.sql = (
            f"SELECT z, significant FROM profile_diff('{self.base}', '{self.new}', 'cpu') "  # noqa: S608  a finding's
            "WHERE function = 'main.faultBurnCPU'"
        )
        self._report()

    def _unrelated_incident(self) -> str:
        received = group(alert(starts_at=START, job="unrelated"), received_at=START)
        key = IncidentKey("unrelated", "unrelated")
        return save_group(self.store, received, lambda _: key, quiet=timedelta(minutes=15)).incidents[0]

    def _trace(self) -> str:
        file = next(file for file in RECORDED if file.name == "cpu-profile.pb.gz")
        labelled = {sample.labels.get("trace_id") for sample in decode(file.read_bytes()).samples}
        found = self.store.rows("SELECT DISTINCT trace_id FROM spans ORDER BY trace_id")
        return next(row["trace_id"] for row in found if row["trace_id"] in labelled)

    def _capture(self, incident: str | None, name: str, **more) -> str:
        body = next(file for file in RECORDED if file.name == name).read_bytes()
        profile = decode(body)
        kind = guess_kind(profile)
        return save_capture(self.store, incident, kind, profile=profile, body=body, basis="interval", **more)

    def _report(self) -> None:
        finding = Finding(
            kind="hot_code",
            statement="main.faultBurnCPU is hot",
            subject=Subject("function", "main.faultBurnCPU"),
            effect=Effect(93.0, "percent", 0.0, 93.0),
            significance={"method": "z", "z": 7.5},
            confidence="strong",
            evidence=(self.new,),
            sql=self.sql,
        )
        notes = [Note("no lock", sql="SELECT 1")]
        save_revision(
            self.store,
            self.incident,
            1,
            "cpu",
            [finding],
            ruled_out=notes,
            missing=[Note("no heap")],
            html="<p>",
            markdown="#",
            json_text="{}",
            sinks=["folder"],
        )
        save_timing(self.store, self.incident, "webhook_to_ack", 3.0)
        add_timeline(self.store, self.incident, "note", "looked at")
