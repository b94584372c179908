"""
The story: an alert comes in, a report goes out. Every step is one call to a stage; the stages do not know each other.

    webhook → save_group (committed, then 202) → investigate:
        traces now, because exemplars are overwritten within minutes
        captures of the sick instances meanwhile; after the cheap ones: findings → revision 1
        after the CPU profile: traces again, findings → revision 2
    resolved → captures once more, for the comparison with health → the last revision
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol

from diagnose.by_hand import BY_HAND, INSTANCES, Wanted, group_of, made_up_alert
from diagnose.capture.choice import Choice, choose_for
from diagnose.capture.limits import is_of, was_left_alone
from diagnose.capture.round import RoundRequest, run_round
from diagnose.capture.targets import AllowedTarget, TargetDirectory
from diagnose.config import Rule, Settings
from diagnose.correlate import Correlation, Readers, correlate
from diagnose.correlate.representatives import left_out, representatives
from diagnose.correlate.windows import metric_windows
from diagnose.errors import UpstreamError
from diagnose.explain import explain
from diagnose.model import (
    Accepted,
    Alert,
    AlertGroup,
    Capture,
    Episode,
    IncidentKey,
    Note,
    Target,
    Trigger,
    rfc3339,
    utc_now,
)
from diagnose.planning import Plan, plan_for, watched_by
from diagnose.prometheus import Prometheus, ask_all
from diagnose.receive.grouping import incident_key, matching_rule, service_of
from diagnose.report.chart import window
from diagnose.report.incident import build_report
from diagnose.report.render import render_html, render_json, render_markdown
from diagnose.report.series import unit_of, watched
from diagnose.store.alerts import save_enrichment, save_group
from diagnose.store.captures import captures_of, mark_lost
from diagnose.store.db import Store
from diagnose.store.decisions import save_decisions
from diagnose.store.folding import worst
from diagnose.store.incidents import (
    add_timeline,
    close_incident,
    episodes_of,
    get_incident,
    route_labels_of,
    save_timing,
    save_traces,
    unfinished_incidents,
)
from diagnose.store.merging import merge_incidents, split_incident
from diagnose.store.metrics import save_exemplars, save_series
from diagnose.store.reports import get_report, next_revision, save_revision
from diagnose.telemetry import ALERTS, get_logger
from diagnose.threads import CaptureRounds, OneAtATime

log = get_logger(__name__)
CHEAP_EVIDENCE_S = 4.0  # the first report does not wait longer for the snapshots
INCIDENTS_AT_ONCE = 8
CAPTURES_AT_ONCE = 32
CURVE_POINTS = 300
JITTER_S = 0.5  # the instances of a service should not be held up at the same moment
FIRST_EVIDENCE, PROFILES_CAPTURED, RESOLVED = "first evidence", "profiles captured", "resolved"  # reasons of reports
ALERTS_JOINED = "alerts joined"
WORTH_CONCLUDING = timedelta(days=1)  # a last report that comes later helps nobody


class Wakeable(Protocol):
    def wake(self) -> None: ...


class Pipeline:
    """Give it alert groups with `receive`; it works in threads of its own until `stop`."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        prometheus: list[Prometheus],
        directory: TargetDirectory,
        outbox: Wakeable,
    ) -> None:
        self.store = store
        self.use(settings, prometheus, directory)
        self.outbox = outbox
        self.stopping = threading.Event()
        self._incidents = OneAtATime(INCIDENTS_AT_ONCE, "incident")
        self._captures = ThreadPoolExecutor(max_workers=CAPTURES_AT_ONCE, thread_name_prefix="capture")

    def use(self, settings: Settings, prometheus: list[Prometheus], directory: TargetDirectory) -> None:
        """From now on; what runs already goes on with what it has read."""
        self.settings = settings
        self.readers = Readers(self.store, prometheus, settings)
        self.directory = directory

    def receive(self, group: AlertGroup) -> Accepted:
        """Commit *group*, then let the work begin. Returns after the commit; a redelivered message changes nothing."""
        accepted = save_group(
            self.store,
            group,
            self._key_of,
            quiet=self.settings.incidents.quiet,
            ignore_labels=self.settings.incidents.ignore_labels,
        )
        acknowledged_at = utc_now()
        ALERTS.labels("accepted").inc(accepted.accepted)
        ALERTS.labels("duplicate").inc(accepted.duplicates)
        for incident_id in accepted.opened:
            self._incidents.submit(incident_id, "timing", partial(self._save_ack, incident_id, acknowledged_at))
        begun = dict.fromkeys((*accepted.opened, *accepted.reopened))
        for incident_id in begun:
            self._submit(incident_id, "open")
        for incident_id in accepted.grown:
            if incident_id not in begun:
                self._incidents.submit(incident_id, "joined", partial(self.investigate, incident_id, joined=True))
        self.conclude_soon(accepted.resolved)
        return accepted

    def resume(self) -> None:
        """At start-up: mark what a crash cut off, and put out the reports that it kept from coming."""
        mark_lost(self.store)
        unfinished = unfinished_incidents(
            self.store, first_reason=FIRST_EVIDENCE, last_reason=RESOLVED, since=utc_now() - WORTH_CONCLUDING
        )
        for incident_id, status in unfinished:
            self._submit(incident_id, status)

    def close(self, incident_id: str, why: str) -> None:
        """End it by hand, with a last report. One that is over stays as it is. Raises NotFound."""
        if close_incident(self.store, incident_id, why):
            self.conclude_soon([incident_id])

    def merge(self, into: str, taken: Sequence[str]) -> None:
        """As `merge_incidents`, with a new report of what they are together."""
        merge_incidents(self.store, into, taken)
        self._submit(into, get_incident(self.store, into).status)

    def split(self, incident_id: str, episodes: Sequence[str]) -> str:
        """As `split_incident`, with new reports of both. The service is what the worst of *episodes* is about."""
        going = [each for each in episodes_of(self.store, incident_id) if each.episode_id in episodes]
        service = service_of(worst(going).labels, self.settings) if going else ""
        new = split_incident(self.store, incident_id, episodes, service)
        for each in (incident_id, new):
            self._submit(each, get_incident(self.store, each).status)
        return new

    def capture(self, incident_id: str, wanted: Wanted) -> None:
        """Once more by hand, of the targets of its alerts; a report follows. Raises NotFound."""
        get_incident(self.store, incident_id)
        plan = partial(self._plan_by_hand, incident_id, wanted)
        self._incidents.submit(incident_id, "capture", partial(self._capture_by_hand, incident_id, plan))

    def capture_targets(self, targets: Sequence[AllowedTarget], wanted: Wanted) -> str:
        """
        Profiles of *targets* of one service without an alert: an incident of its own, whose id is the answer.

        It is over when the report is out.
        """
        alert = made_up_alert(targets)
        key = IncidentKey(f"{BY_HAND}:{alert.fingerprint}:{rfc3339(alert.starts_at)}", targets[0].service)
        save = partial(save_group, self.store, assign=lambda _: key, quiet=timedelta(0))
        incident_id = save(group_of(alert)).opened[0]
        plan = Plan(Choice(tuple(targets)), wanted.kinds_or(Rule()), wanted.narrow(Rule()), ())

        def work() -> None:
            self._capture_by_hand(incident_id, lambda: plan)
            save(group_of(replace(alert, status="resolved", ends_at=utc_now())))

        self._incidents.submit(incident_id, "capture", work)
        return incident_id

    def _plan_by_hand(self, incident_id: str, wanted: Wanted) -> Plan:
        """As its rules say; where none matches, from those its alerts are about."""
        episodes = episodes_of(self.store, incident_id)
        plan = self.plan(incident_id, episodes)
        choice = plan.choice if plan.targets else choose_for(self.directory, [*map(watched_by, episodes)], INSTANCES)
        kinds = wanted.kinds or plan.kinds or wanted.kinds_or(plan.rule)
        return replace(plan, choice=choice, kinds=kinds, rule=wanted.narrow(plan.rule))

    def _capture_by_hand(self, incident_id: str, plan: Callable[[], Plan]) -> None:
        self._start_rounds(incident_id, plan(), "manual").wait()
        missing = self.attach_traces(incident_id, episodes_of(self.store, incident_id))
        self.publish(incident_id, BY_HAND, missing)

    def conclude_soon(self, incident_ids: Iterable[str]) -> None:
        """All alerts of these have ended."""
        for incident_id in incident_ids:
            self._submit(incident_id, "resolved")

    def _submit(self, incident_id: str, status: Literal["open", "resolved"]) -> None:
        if status == "open":
            self._incidents.submit(incident_id, "investigate", partial(self.investigate, incident_id))
        else:
            self._incidents.submit(incident_id, "conclude", partial(self.conclude, incident_id))

    def investigate(self, incident_id: str, *, joined: bool = False) -> None:
        """
        From firing alerts to the report with the CPU profile.

        Run again when another alert has *joined*: it then captures only what is missing, looks for the traces of that
        alert, and puts out one more revision, at once only when there is a new profile.
        """
        known = episodes_of(self.store, incident_id)
        if not known:  # it was merged into another
            return
        episodes = [each for each in known if each.status == "firing"]
        plan = self.plan(incident_id, episodes)
        rounds = self._start_rounds(incident_id, plan, "alert")
        if joined:
            episodes = [each for each in episodes if not each.expr] or episodes  # those nobody asked about yet
        missing = self.attach_traces(incident_id, episodes)
        self._start_rounds_anew(rounds, incident_id, plan, "alert")
        if next_revision(self.store, incident_id) == 1:
            rounds.wait_for_cheap(CHEAP_EVIDENCE_S)
            self.publish(incident_id, FIRST_EVIDENCE, missing)
            if not plan.targets:
                return
        captured = [each for each in rounds.wait() if each.status == "done"]
        missing = self.attach_traces(incident_id, episodes)
        if joined and not captured:
            self._publish_joined(incident_id, missing)
        else:
            self.publish(incident_id, PROFILES_CAPTURED, missing)

    def _publish_joined(self, incident_id: str, missing: Sequence[Note]) -> None:
        """Not before the last report was read: hundreds of alerts may join one after the other."""
        last = get_report(self.store, incident_id)

        def work() -> None:
            is_open = get_incident(self.store, incident_id).status == "open"
            if is_open and next_revision(self.store, incident_id) == last["revision"] + 1:
                self.publish(incident_id, ALERTS_JOINED, missing)

        wait_s = (last["created_at"] + self.settings.incidents.update_every - utc_now()).total_seconds()
        self._incidents.submit_later(max(0.0, wait_s), incident_id, "report", work)

    def conclude(self, incident_id: str) -> None:
        """All alerts ended: profiles of the healthy state for the comparison, then the last revision."""
        episodes = episodes_of(self.store, incident_id)
        if not episodes:  # it was merged into another
            return
        self._start_rounds(incident_id, self.plan(incident_id, episodes), "resolved").wait()
        missing = self.attach_traces(incident_id, episodes)
        self.publish(incident_id, RESOLVED, missing)

    def plan(self, incident_id: str, episodes: Iterable[Episode]) -> Plan:
        """What to capture and from whom, by the settings of this moment; what was decided is kept."""
        route_labels = route_labels_of(self.store, incident_id)
        plan = plan_for(episodes, route_labels, self.settings, self.directory)
        new = save_decisions(self.store, incident_id, plan.decisions)
        if plan.kinds and not plan.targets and any(each.step == "target" for each in new):
            add_timeline(self.store, incident_id, "capture", "no target of the allow-list belongs to these alerts")
        return plan

    def attach_traces(self, incident_id: str, episodes: Sequence[Episode]) -> list[Note]:
        """
        Find the traces of the alerts, keep them with the exemplars they were found by. Says what was missing.

        Raises CancelledError once `stop` was called.
        """
        chosen = representatives(episodes)
        missing = left_out(chosen, episodes)
        watched_exprs: dict[str, None] = {}  # two instances of one rule watch the same number
        for episode in chosen:
            if self.stopping.is_set():
                raise CancelledError
            found = correlate(episode, self.readers)
            self._keep(incident_id, episode, found)
            missing += found.missing
            watched_exprs |= {found.expr: None} if found.expr else {}
        for expr in watched_exprs:
            self._keep_curve(incident_id, expr)
        self._incidents.submit(f"{incident_id} metrics", "metric windows", partial(self.keep_windows, incident_id))
        return missing

    def _keep(self, incident_id: str, episode: Episode, found: Correlation) -> None:
        save_enrichment(self.store, episode.episode_id, expr=found.expr, active_at=found.active_at, value=found.value)
        save_exemplars(self.store, found.exemplars)
        new = save_traces(self.store, incident_id, found.traces)
        if found.exemplars:
            self.save_step(incident_id, "webhook_to_first_exemplar")
        if new:
            add_timeline(self.store, incident_id, "traces", f"{new} traces found for {episode.alertname}")

    def _keep_curve(self, incident_id: str, expr: str) -> None:
        """The number that the alert watches, over the time the report shows, so that it needs no Prometheus later."""
        number = watched(expr)
        if number is None:
            return
        incident = get_incident(self.store, incident_id)
        since, until = window(incident.started_at, incident.ended_at, utc_now())
        step_s = max(1.0, round((until - since).total_seconds() / CURVE_POINTS))
        ask = partial(Prometheus.query_range, expr=number.expr, start=since, end=until, step_s=step_s)
        for _, answer in ask_all(self.readers.prometheus, ask):
            if not isinstance(answer, UpstreamError):
                curves = [(series.labels, series.points) for series in answer]
                save_series(self.store, number.expr, number.unit, incident.service_name, curves)

    def keep_windows(self, incident_id: str) -> None:
        """The metrics of its service, and what its alerts watch, from an hour before on."""
        incident, episodes = get_incident(self.store, incident_id), episodes_of(self.store, incident_id)
        exprs = {number.expr: each.labels for each in episodes if (number := watched(each.expr))}
        until = incident.ended_at or utc_now()
        for metric in metric_windows(episodes, exprs, self.readers, incident.started_at, until):
            curves = [(series.labels, series.points) for series in metric.series]
            save_series(self.store, metric.name, unit_of(metric.name), incident.service_name, curves)

    def _start_rounds(self, incident_id: str, plan: Plan, trigger: Trigger) -> CaptureRounds:
        rounds = CaptureRounds(self._captures)
        for target in plan.targets:
            rounds.start(partial(self._capture, incident_id, target, plan, trigger))
        return rounds

    def _start_rounds_anew(self, rounds: CaptureRounds, incident_id: str, plan: Plan, trigger: Trigger) -> None:
        """Where the cooldown was not over: the value of the alert is known now, and may be worse than last time."""
        for target in plan.targets:
            taken = [each for each in captures_of(self.store, incident_id) if is_of(each, target, trigger)]
            if was_left_alone(taken):
                rounds.start(partial(self._capture, incident_id, target, plan, trigger))

    def _capture(
        self, incident_id: str, target: Target, plan: Plan, trigger: Trigger, on_cheap: Callable[[], None]
    ) -> list[Capture]:
        request = RoundRequest(
            incident_id=incident_id,
            trigger=trigger,
            kinds=plan.kinds,
            seconds=plan.rule.seconds,
            cooldown=plan.rule.cooldown,
            max_per_hour=plan.rule.max_per_hour,
            seconds_per_hour=plan.rule.seconds_per_hour,
            jitter_s=JITTER_S if len(plan.targets) > 1 else 0.0,
            on_first_request=partial(self.save_step, incident_id, "webhook_to_first_capture_request"),
        )
        return run_round(self.store, target, request, on_cheap=on_cheap, stop=self.stopping)

    def publish(self, incident_id: str, reason: str, missing: Iterable[Note] = ()) -> int:
        """Explain what is stored now and put out the next revision of the report. Returns its number."""
        revision = next_revision(self.store, incident_id)
        explanation = explain(self.store, incident_id)
        explanation = replace(explanation, missing=list(dict.fromkeys((*missing, *explanation.missing))))
        report = build_report(
            self.store,
            incident_id,
            explanation,
            revision=revision,
            reason=reason,
            external_url=self.settings.server.external_url,
        )
        save_revision(
            self.store,
            incident_id,
            revision,
            reason,
            explanation.findings,
            ruled_out=explanation.ruled_out,
            missing=explanation.missing,
            html=render_html(report),
            markdown=render_markdown(report),
            json_text=render_json(report),
            sinks=[sink.name for sink in self.settings.sinks],
        )
        self.save_step(incident_id, "webhook_to_first_report")
        if reason == PROFILES_CAPTURED:
            self.save_step(incident_id, "webhook_to_cpu_report")
        self.outbox.wake()
        log.info("report published", incident=incident_id, revision=revision, findings=len(explanation.findings))
        return revision

    def save_step(self, incident_id: str, step: str, at: datetime | None = None) -> None:
        """How long after the incident's first webhook a step was reached; only the first time counts."""
        opened_at = get_incident(self.store, incident_id).opened_at
        save_timing(self.store, incident_id, step, ((at or utc_now()) - opened_at).total_seconds() * 1000)

    def _save_ack(self, incident_id: str, acknowledged_at: datetime) -> None:
        self.save_step(incident_id, "webhook_to_ack", acknowledged_at)

    def _key_of(self, alert: Alert) -> IncidentKey | None:
        if matching_rule(alert.labels, self.settings) is None:
            return None
        return incident_key(alert.labels, self.settings)

    def stop(self) -> None:
        """Give up what runs and wait for the threads; what is unfinished is found again at the next start."""
        self.stopping.set()
        self._incidents.stop()
        self._captures.shutdown(wait=True, cancel_futures=True)
