-- The documented views over the control tables. The same file runs in an exported incident.duckdb, so tables are named
-- without database and schema.

CREATE OR REPLACE VIEW incidents AS
SELECT incident_id, status, title, service_name, severity, started_at, ended_at,
    (SELECT count(*) FROM episode WHERE episode.incident_id = incident.incident_id) AS alert_count,
    (SELECT arg_min(statement, rank) FROM finding
     WHERE finding.incident_id = incident.incident_id AND finding.revision = incident.revision) AS top_finding,
    opened_at, revision, group_id, merged_into
FROM incident;

COMMENT ON VIEW incidents IS 'What a human sees: the alerts of one service that are open together.';
COMMENT ON COLUMN incidents.incident_id IS 'Names the incident everywhere.';
COMMENT ON COLUMN incidents.status IS 'open, or resolved once all its alerts have ended or somebody closed it.';
COMMENT ON COLUMN incidents.title IS 'Name of the worst alert and the service.';
COMMENT ON COLUMN incidents.service_name IS 'The service its alerts are about.';
COMMENT ON COLUMN incidents.severity IS 'The worst severity label of its alerts; unknown if none has one.';
COMMENT ON COLUMN incidents.started_at IS 'When the first of its alerts began: activeAt where Prometheus told it, else startsAt.';
COMMENT ON COLUMN incidents.ended_at IS 'When the last of its alerts ended or it was closed by hand; NULL while open.';
COMMENT ON COLUMN incidents.alert_count IS 'How many alert episodes belong to it, ended ones too.';
COMMENT ON COLUMN incidents.top_finding IS 'The first finding of its newest report, as a sentence; NULL if there is none.';
COMMENT ON COLUMN incidents.opened_at IS 'When the first message about it arrived.';
COMMENT ON COLUMN incidents.revision IS 'The newest revision of its report; 0 before the first.';
COMMENT ON COLUMN incidents.group_id IS 'The labels that tell incidents apart (setting incidents.group_by), as JSON.';
COMMENT ON COLUMN incidents.merged_into IS 'The incident that took over its alerts; NULL if none did.';

CREATE OR REPLACE VIEW alerts AS
SELECT incident_id, episode_id, fingerprint, alertname, status, source, group_key, labels, annotations, expr, active_at,
    starts_at, ends_at, received_at, "value", generator_url, suppressed, ended_by, expires_at, rule_uid, "values"
FROM episode;

COMMENT ON VIEW alerts IS 'One firing period of one alert (an episode) a row.';
COMMENT ON COLUMN alerts.incident_id IS 'Its incident; NULL when no rule matched it.';
COMMENT ON COLUMN alerts.episode_id IS 'Names the firing period.';
COMMENT ON COLUMN alerts.fingerprint IS 'Hash of the labels without the ignored ones: the same each time this alert fires.';
COMMENT ON COLUMN alerts.alertname IS 'Name of the alerting rule.';
COMMENT ON COLUMN alerts.status IS 'firing or resolved.';
COMMENT ON COLUMN alerts.source IS 'Who told us first: alertmanager, grafana, prometheus (directly), or reconciled: Alertmanager listed it.';
COMMENT ON COLUMN alerts.group_key IS 'The group the sender had it in when we first heard of it.';
COMMENT ON COLUMN alerts.labels IS 'Its labels as first received.';
COMMENT ON COLUMN alerts.annotations IS 'Its annotations as first received.';
COMMENT ON COLUMN alerts.expr IS 'The expression of its rule, if it could be found out.';
COMMENT ON COLUMN alerts.active_at IS 'Since when the expression held, as Prometheus told; earlier than starts_at by the for of the rule.';
COMMENT ON COLUMN alerts.starts_at IS 'When it began to fire; the earliest of what was told.';
COMMENT ON COLUMN alerts.ends_at IS 'When it ended; NULL while it fires.';
COMMENT ON COLUMN alerts.received_at IS 'When the first message about this firing period arrived.';
COMMENT ON COLUMN alerts."value" IS 'Value of the expression, as Prometheus told when the alert arrived.';
COMMENT ON COLUMN alerts.generator_url IS 'Where the sender says the alert comes from.';
COMMENT ON COLUMN alerts.suppressed IS 'silenced, inhibited or muted while Alertmanager notifies nobody of it; NULL otherwise.';
COMMENT ON COLUMN alerts.ended_by IS 'How an end that no message told was found out: vanished from Alertmanager, or expired; NULL otherwise.';
COMMENT ON COLUMN alerts.expires_at IS 'When it ends unless it is sent again, if Prometheus sends it directly; NULL for others.';
COMMENT ON COLUMN alerts.rule_uid IS 'The rule in Grafana; NULL for others.';
COMMENT ON COLUMN alerts."values" IS 'Values of the queries of a Grafana rule when it fired; NULL for others.';

CREATE OR REPLACE VIEW alert_events AS
SELECT episode.incident_id, episode_id, alert_event.fingerprint, episode.alertname, alert_event.status, message.source,
    message.group_key, alert_event.starts_at, alert_event.ends_at, alert_event.received_at, message_id,
    message.receiver, message.external_url, message.notification_reason, message.truncated_alerts
FROM alert_event JOIN message USING (message_id) JOIN episode USING (episode_id);

COMMENT ON VIEW alert_events IS 'One alert in one message a row; what was received before is not repeated.';
COMMENT ON COLUMN alert_events.incident_id IS 'The incident its episode belongs to; NULL when no rule matched it.';
COMMENT ON COLUMN alert_events.episode_id IS 'The firing period it was about.';
COMMENT ON COLUMN alert_events.fingerprint IS 'The fingerprint as sent, ignored labels included.';
COMMENT ON COLUMN alert_events.alertname IS 'Name of the alerting rule.';
COMMENT ON COLUMN alert_events.status IS 'What the message said: firing or resolved.';
COMMENT ON COLUMN alert_events.source IS 'Who sent it: alertmanager, grafana, prometheus, or reconciled: nobody did, Alertmanager listed it.';
COMMENT ON COLUMN alert_events.group_key IS 'The group it was sent in.';
COMMENT ON COLUMN alert_events.starts_at IS 'When it began to fire, as this message told.';
COMMENT ON COLUMN alert_events.ends_at IS 'When it ended, as this message told; NULL while it fires.';
COMMENT ON COLUMN alert_events.received_at IS 'When the message arrived.';
COMMENT ON COLUMN alert_events.message_id IS 'The message; one brings many alerts.';
COMMENT ON COLUMN alert_events.receiver IS 'The receiver in the sender''s configuration.';
COMMENT ON COLUMN alert_events.external_url IS 'The sender''s address: tells the members of an Alertmanager cluster apart.';
COMMENT ON COLUMN alert_events.notification_reason IS 'Why Alertmanager (from 0.32) sent the message; empty if not told.';
COMMENT ON COLUMN alert_events.truncated_alerts IS 'How many alerts the sender left out of the message (max_alerts).';

CREATE OR REPLACE VIEW decisions AS
SELECT incident_id, "at", step, subject, outcome, reason FROM decision;

COMMENT ON VIEW decisions IS 'What was decided about an incident and why, each decision once.';
COMMENT ON COLUMN decisions.incident_id IS 'The incident.';
COMMENT ON COLUMN decisions."at" IS 'When it was first decided so.';
COMMENT ON COLUMN decisions.step IS 'rule, service, kinds or target.';
COMMENT ON COLUMN decisions.subject IS 'The alert or target it is about.';
COMMENT ON COLUMN decisions.outcome IS 'What was decided.';
COMMENT ON COLUMN decisions.reason IS 'Why.';

CREATE OR REPLACE VIEW incident_traces AS
SELECT incident_id, trace_id, found_by, confidence, rank, metric_value, seen_at, evidence FROM incident_trace;

COMMENT ON VIEW incident_traces IS 'The traces of an incident, each once.';
COMMENT ON COLUMN incident_traces.incident_id IS 'The incident.';
COMMENT ON COLUMN incident_traces.trace_id IS 'The trace, as in spans.';
COMMENT ON COLUMN incident_traces.found_by IS 'label (the alert named it), exemplar, span_search or profile_label.';
COMMENT ON COLUMN incident_traces.confidence IS '1 for an id that the alert or an exemplar of its own series carries, less for a search.';
COMMENT ON COLUMN incident_traces.rank IS '1 is the best: by confidence, then metric_value.';
COMMENT ON COLUMN incident_traces.metric_value IS 'Value of the exemplar, or duration of the span in seconds.';
COMMENT ON COLUMN incident_traces.seen_at IS 'Time of the exemplar or the span.';
COMMENT ON COLUMN incident_traces.evidence IS 'The series or the search it was found with.';

CREATE OR REPLACE VIEW captures AS
SELECT capture_id, incident_id, target, service_name, service_instance_id, kind, "trigger", status, reason, http_status,
    requested_at, started_at, ended_at, lag_ms, bytes, profile_id, phase, seconds, requests, took_ms
FROM capture;

COMMENT ON VIEW captures IS 'One attempt to fetch one profile from one target a row; a refusal is one too.';
COMMENT ON COLUMN captures.capture_id IS 'Names the capture.';
COMMENT ON COLUMN captures.incident_id IS 'The incident it was taken for; NULL for a baseline.';
COMMENT ON COLUMN captures.target IS 'Entry of the allow-list (setting targets).';
COMMENT ON COLUMN captures.service_name IS 'The service of the target.';
COMMENT ON COLUMN captures.service_instance_id IS 'The instance that was asked.';
COMMENT ON COLUMN captures.kind IS 'Profile kind: cpu, heap, goroutine, wall, mutex, block, …';
COMMENT ON COLUMN captures."trigger" IS 'Why it was taken: alert, resolved, baseline or manual.';
COMMENT ON COLUMN captures.status IS 'planned, running, done, refused, failed, skipped or lost.';
COMMENT ON COLUMN captures.reason IS 'Why it ended as it did; empty when there is nothing to say.';
COMMENT ON COLUMN captures.http_status IS 'What the target answered; NULL if it did not.';
COMMENT ON COLUMN captures.requested_at IS 'When it was planned, together with the rest of its round.';
COMMENT ON COLUMN captures.started_at IS 'When the target was asked.';
COMMENT ON COLUMN captures.ended_at IS 'When its outcome was known.';
COMMENT ON COLUMN captures.lag_ms IS 'Milliseconds from requested_at to started_at.';
COMMENT ON COLUMN captures.bytes IS 'Size of the answer in bytes, as transferred.';
COMMENT ON COLUMN captures.profile_id IS 'What it brought, as in profiles.';
COMMENT ON COLUMN captures.seconds IS 'For how many seconds the target was profiled; NULL for a snapshot.';
COMMENT ON COLUMN captures.requests IS 'How many requests the target was sent for it; NULL when none was.';
COMMENT ON COLUMN captures.took_ms IS 'How long these requests took together, milliseconds.';
COMMENT ON COLUMN captures.phase IS 'first, or again: snapshots are taken twice, and the difference is what happened between.';

CREATE OR REPLACE VIEW builds AS
SELECT service_name, service_instance_id, build_id, first_seen, last_seen FROM build;

COMMENT ON VIEW builds IS 'Which build of a program ran on an instance; one row per change of it.';
COMMENT ON COLUMN builds.service_name IS 'The service.';
COMMENT ON COLUMN builds.service_instance_id IS 'The instance.';
COMMENT ON COLUMN builds.build_id IS 'Build id of the binary, as in profiles.';
COMMENT ON COLUMN builds.first_seen IS 'When a profile or a look at the process first had it.';
COMMENT ON COLUMN builds.last_seen IS 'When it was last seen there, within five minutes.';

CREATE OR REPLACE VIEW findings AS
SELECT finding_id, incident_id, revision, rank, kind, statement, subject, effect, significance, confidence, sql, evidence
FROM finding;

COMMENT ON VIEW findings IS 'Claims about the cause, of every revision of every report.';
COMMENT ON COLUMN findings.finding_id IS 'Names the finding.';
COMMENT ON COLUMN findings.incident_id IS 'The incident it explains.';
COMMENT ON COLUMN findings.revision IS 'The revision of the report it stands in; incidents.revision is the newest.';
COMMENT ON COLUMN findings.rank IS '1 is the verdict: it explains most of the symptom.';
COMMENT ON COLUMN findings.kind IS 'hot_code, leak, memory, gc, lock, latency, errors, downstream, …';
COMMENT ON COLUMN findings.statement IS 'The claim, as a sentence.';
COMMENT ON COLUMN findings.subject IS 'What it is about: type (function, span, service, …), name, and file and line if known.';
COMMENT ON COLUMN findings.effect IS 'Size of the effect: value in unit, from before (healthy) to during (sick).';
COMMENT ON COLUMN findings.significance IS 'How unlikely chance is: method, and its z or p.';
COMMENT ON COLUMN findings.confidence IS 'strong, likely or hint.';
COMMENT ON COLUMN findings.sql IS 'The query that shows it; runs here and in incident.duckdb.';
COMMENT ON COLUMN findings.evidence IS 'Ids of the profiles, traces and captures it rests on.';

CREATE OR REPLACE VIEW notes AS
SELECT incident_id, revision, kind, rank, statement, fix, sql FROM note;

COMMENT ON VIEW notes IS 'Sentences of a report that are no cause.';
COMMENT ON COLUMN notes.incident_id IS 'The incident.';
COMMENT ON COLUMN notes.revision IS 'The revision of the report it stands in.';
COMMENT ON COLUMN notes.kind IS 'ruled_out, or missing_evidence for what could not be known.';
COMMENT ON COLUMN notes.rank IS 'Place among those of its kind.';
COMMENT ON COLUMN notes.statement IS 'The sentence.';
COMMENT ON COLUMN notes.fix IS 'What would make the missing evidence available; empty if nothing.';
COMMENT ON COLUMN notes.sql IS 'The query that shows it; may be empty.';

CREATE OR REPLACE VIEW deliveries AS
SELECT incident_id, revision, sink, status, attempts, last_error, delivered_at, external_ref, created_at, next_attempt_at
FROM delivery;

COMMENT ON VIEW deliveries IS 'One revision of a report for one sink a row.';
COMMENT ON COLUMN deliveries.incident_id IS 'The incident.';
COMMENT ON COLUMN deliveries.revision IS 'The revision of its report.';
COMMENT ON COLUMN deliveries.sink IS 'Name of the sink (setting sinks).';
COMMENT ON COLUMN deliveries.status IS 'pending, delivered, or dead when it was given up.';
COMMENT ON COLUMN deliveries.attempts IS 'How often it was tried.';
COMMENT ON COLUMN deliveries.last_error IS 'What went wrong the last time; NULL if nothing did.';
COMMENT ON COLUMN deliveries.delivered_at IS 'When the sink took it.';
COMMENT ON COLUMN deliveries.external_ref IS 'What the sink calls it: a path, a message id, a URL.';
COMMENT ON COLUMN deliveries.created_at IS 'When the revision was published.';
COMMENT ON COLUMN deliveries.next_attempt_at IS 'Not to be tried before; NULL for at once.';

CREATE OR REPLACE VIEW timings AS
SELECT incident_id, step, ms FROM timing;

COMMENT ON VIEW timings IS 'How quickly an incident was worked on, one step a row.';
COMMENT ON COLUMN timings.incident_id IS 'The incident.';
COMMENT ON COLUMN timings.step IS 'webhook_to_ack, webhook_to_first_exemplar, webhook_to_first_capture_request, webhook_to_first_report or webhook_to_cpu_report.';
COMMENT ON COLUMN timings.ms IS 'Milliseconds from the webhook that opened the incident until the step was reached first.';

CREATE OR REPLACE VIEW rejected_requests AS
SELECT path, reason, field, body_bytes, first_at, last_at, repeats, body FROM rejected_request;

COMMENT ON VIEW rejected_requests IS 'Bodies that were refused, the last thousand.';
COMMENT ON COLUMN rejected_requests.path IS 'The endpoint.';
COMMENT ON COLUMN rejected_requests.reason IS 'Why it was refused.';
COMMENT ON COLUMN rejected_requests.field IS 'The part that was missing or wrong; NULL if it was the whole.';
COMMENT ON COLUMN rejected_requests.body_bytes IS 'Size of the body in bytes.';
COMMENT ON COLUMN rejected_requests.first_at IS 'When it was refused first.';
COMMENT ON COLUMN rejected_requests.last_at IS 'When it was refused last.';
COMMENT ON COLUMN rejected_requests.repeats IS 'How often the same body was refused again.';
COMMENT ON COLUMN rejected_requests.body IS 'The body, of a long one the beginning.';

CREATE OR REPLACE MACRO timeline(incident_id) AS TABLE
SELECT entry."at", entry.kind, entry.text
FROM timeline_entry AS entry WHERE entry.incident_id = incident_id
ORDER BY entry."at", entry.rowid;

COMMENT ON MACRO TABLE timeline IS 'What happened to an incident: at, kind, text; in order.';
