-- name: get_incident
SELECT incident_id, status, title, service_name, severity, started_at, ended_at, opened_at
FROM incident WHERE incident_id = $incident_id;

-- name: open_incidents
-- Longest open first.
SELECT incident_id, status, title, service_name, severity, started_at, ended_at, opened_at
FROM incident WHERE status = 'open' ORDER BY opened_at, incident_id;

-- name: unfinished_incidents
-- What a crash left without its report. Open: none yet; or something came in, or a capture ended, after the newest; or
-- that was the one before the profiles. Resolved within a day: there is no last report since.
WITH newest AS (
    SELECT incident_id, max(created_at) AS created_at, arg_max(reason, created_at) AS reason
    FROM report GROUP BY incident_id
)
SELECT incident.incident_id, incident.status
FROM incident LEFT JOIN newest USING (incident_id)
WHERE merged_into IS NULL AND CASE incident.status
    WHEN 'open' THEN newest.created_at IS NULL
        OR EXISTS (
            SELECT 1 FROM episode
            WHERE episode.incident_id = incident.incident_id AND episode.received_at > newest.created_at)
        OR EXISTS (
            SELECT 1 FROM timeline_entry AS line
            WHERE line.incident_id = incident.incident_id AND line."at" > newest.created_at
              AND line.kind IN ('reopened', 'merged', 'split'))
        OR EXISTS (
            SELECT 1 FROM capture
            WHERE capture.incident_id = incident.incident_id AND capture."trigger" = 'alert'
              AND (capture.ended_at > newest.created_at OR newest.reason = $first_reason))
    ELSE incident.ended_at > $since AND NOT EXISTS (
            SELECT 1 FROM report
            WHERE report.incident_id = incident.incident_id AND report.reason = $last_reason
              AND report.created_at >= (
                SELECT max(line."at") FROM timeline_entry AS line
                WHERE line.incident_id = incident.incident_id AND line.kind IN ('resolved', 'closed')))
    END
ORDER BY incident.opened_at, incident.incident_id;

-- name: count_open
SELECT count(*) AS incidents FROM incident WHERE status = 'open';

-- name: list_incidents
-- Newest first, from behind the incident ($before_at, $before_id) if that is given. Filters that are NULL do not count.
SELECT incident_id AS id, status, title, service_name AS service, severity, started_at, ended_at,
    (SELECT count(*) FROM episode WHERE episode.incident_id = incident.incident_id) AS alert_count,
    (SELECT arg_min(statement, rank) FROM finding
     WHERE finding.incident_id = incident.incident_id AND finding.revision = incident.revision) AS verdict,
    opened_at
FROM incident
WHERE ($status IS NULL OR status = $status)
  AND ($service IS NULL OR service_name = $service)
  AND ($since::TIMESTAMPTZ IS NULL OR started_at >= $since)
  AND ($before_at::TIMESTAMPTZ IS NULL OR (opened_at, incident_id) < ($before_at::TIMESTAMPTZ, $before_id))
ORDER BY opened_at DESC, incident_id DESC
LIMIT $limit;

-- name: incident_head
-- One incident as the list shows it, and what else its page needs.
SELECT incident_id AS id, status, title, service_name AS service, severity, started_at, ended_at, opened_at, revision,
    merged_into, (SELECT count(*) FROM episode WHERE episode.incident_id = incident.incident_id) AS alert_count
FROM incident WHERE incident_id = $incident_id;

-- name: incident_alerts
SELECT episode_id, fingerprint, alertname, status, source, group_key, labels, annotations, generator_url, expr,
    active_at, starts_at, ends_at, received_at, "value", suppressed, ended_by, expires_at, rule_uid, "values"
FROM episode WHERE incident_id = $incident_id ORDER BY starts_at, alertname, episode_id;

-- name: incident_captures
SELECT capture_id, target, service_name, service_instance_id, kind, phase, "trigger", status, reason, http_status,
    requested_at, started_at, ended_at, lag_ms, bytes, profile_id, seconds, requests, took_ms
FROM capture WHERE incident_id = $incident_id ORDER BY requested_at, rowid;

-- name: incident_deliveries
SELECT revision, sink, status, attempts, last_error, next_attempt_at, delivered_at, external_ref
FROM delivery WHERE incident_id = $incident_id ORDER BY revision, sink;

-- name: incident_timeline
SELECT "at", kind, text FROM timeline_entry WHERE incident_id = $incident_id ORDER BY "at", rowid;

-- name: episodes_of
-- In the order they started.
SELECT episode_id, incident_id, fingerprint, alertname, status, labels, annotations, generator_url, starts_at, ends_at,
    received_at, active_at, expr, "value"
FROM episode WHERE incident_id = $incident_id ORDER BY starts_at, alertname, episode_id;

-- name: traces_of
-- Best first.
SELECT trace_id, found_by, confidence, rank, metric_value, seen_at, evidence
FROM incident_trace WHERE incident_id = $incident_id ORDER BY rank;

-- name: forget_traces
DELETE FROM incident_trace WHERE incident_id = $incident_id;

-- name: save_traces
INSERT INTO incident_trace BY NAME
SELECT $incident_id AS incident_id, one.* FROM (SELECT unnest(from_json($rows, '[{
    "trace_id": "VARCHAR", "found_by": "VARCHAR", "confidence": "DOUBLE", "rank": "INTEGER", "metric_value": "DOUBLE",
    "seen_at": "TIMESTAMPTZ", "evidence": "VARCHAR"
}]')) AS one);

-- name: save_timing
-- The first time counts.
INSERT INTO timing
SELECT $incident_id, $step, $ms
WHERE NOT EXISTS (SELECT 1 FROM timing WHERE incident_id = $incident_id AND step = $step);

-- name: timings_of
SELECT step, ms FROM timing WHERE incident_id = $incident_id ORDER BY ms;

-- name: close_incident
UPDATE incident SET status = 'resolved', ended_at = $at
WHERE incident_id = $incident_id AND status = 'open' RETURNING incident_id;

-- name: route_labels_of
-- Labels of the route of the newest message that brought an alert of the incident.
SELECT message.route_labels FROM message JOIN alert_event USING (message_id) JOIN episode USING (episode_id)
WHERE episode.incident_id = $incident_id ORDER BY message.received_at DESC LIMIT 1;
