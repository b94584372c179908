-- Rows come in as JSON, one parameter for all of them: binding them one by one takes thirty times as long.

-- name: known_events
-- Of the event keys in $keys those that are stored.
SELECT event_key, episode_id FROM alert_event WHERE event_key IN (SELECT unnest(from_json($keys::VARCHAR, '["UUID"]')));

-- name: periods_by_id
SELECT episode_id, incident_id, fingerprint, starts_at, ends_at, ended_by, expires_at
FROM episode WHERE episode_id IN (SELECT unnest(from_json($episodes, '["VARCHAR"]')));

-- name: find_periods
-- Of each fingerprint the episodes that are open or ended at its `earliest` or later. A parameter that is compared with
-- a column would have the statement planned at every use.
SELECT episode_id, incident_id, fingerprint, starts_at, ends_at, ended_by, expires_at
FROM episode JOIN (SELECT unnest(from_json($fingerprints::VARCHAR, '[{
    "fingerprint": "VARCHAR", "earliest": "TIMESTAMPTZ"
}]'), recursive := true)) AS asked USING (fingerprint)
WHERE status = 'firing' OR ends_at >= asked.earliest;

-- name: find_members
-- Per episode and fingerprint as sent: the latest start of a firing and the latest end.
SELECT episode_id, fingerprint,
    max(starts_at) FILTER (status = 'firing') AS fires_from, max(ends_at) FILTER (status = 'resolved') AS ended_at
FROM alert_event
WHERE episode_id IN (SELECT unnest(from_json($episodes, '["VARCHAR"]')))
GROUP BY episode_id, fingerprint;

-- name: incidents_of_groups
-- Of each group the incidents that are open, ended at its `earliest` or later, or were merged into another.
SELECT incident_id, group_id, service_name, status, title, severity, started_at, ended_at, opened_at, merged_into
FROM incident JOIN (SELECT unnest(from_json($groups::VARCHAR, '[{
    "group_id": "VARCHAR", "earliest": "TIMESTAMPTZ"
}]'), recursive := true)) AS asked USING (group_id)
WHERE status = 'open' OR ended_at >= asked.earliest OR merged_into IS NOT NULL;

-- name: incidents_by_id
SELECT incident_id, group_id, service_name, status, title, severity, started_at, ended_at, opened_at, merged_into
FROM incident WHERE incident_id IN (SELECT unnest(from_json($incidents, '["VARCHAR"]')));

-- name: count_firing
-- Of the $incidents: how many episodes fire, and when the last of the others ended.
SELECT incident_id, count(*) FILTER (status = 'firing') AS firing, max(ends_at) AS last_ended_at
FROM episode WHERE incident_id IN (SELECT unnest(from_json($incidents, '["VARCHAR"]')))
GROUP BY incident_id;

-- name: known_incidents
SELECT incident_id FROM incident
WHERE incident_id IN (SELECT unnest(from_json($incidents, '["VARCHAR"]')));

-- name: save_messages
-- The bodies are bytes, which JSON does not have: base64.
INSERT INTO message BY NAME
SELECT one.* REPLACE (from_base64(one.body) AS body) FROM (SELECT unnest(from_json($rows::VARCHAR, '[{
    "message_id": "VARCHAR", "source": "VARCHAR", "group_key": "VARCHAR", "receiver": "VARCHAR", "status": "VARCHAR",
    "external_url": "VARCHAR", "notification_reason": "VARCHAR", "route_labels": "MAP(VARCHAR, VARCHAR)",
    "truncated_alerts": "INTEGER", "received_at": "TIMESTAMPTZ", "body": "VARCHAR"
}]')) AS one);

-- name: save_events
INSERT INTO alert_event BY NAME
SELECT one.* FROM (SELECT unnest(from_json($rows::VARCHAR, '[{
    "event_key": "UUID", "message_id": "VARCHAR", "episode_id": "VARCHAR", "fingerprint": "VARCHAR",
    "status": "VARCHAR", "starts_at": "TIMESTAMPTZ", "ends_at": "TIMESTAMPTZ", "received_at": "TIMESTAMPTZ"
}]')) AS one);

-- name: save_episodes
INSERT INTO episode BY NAME
SELECT one.* FROM (SELECT unnest(from_json($rows::VARCHAR, '[{
    "episode_id": "VARCHAR", "incident_id": "VARCHAR", "fingerprint": "VARCHAR", "alertname": "VARCHAR",
    "status": "VARCHAR", "source": "VARCHAR", "group_key": "VARCHAR", "labels": "MAP(VARCHAR, VARCHAR)",
    "annotations": "MAP(VARCHAR, VARCHAR)", "generator_url": "VARCHAR", "starts_at": "TIMESTAMPTZ",
    "ends_at": "TIMESTAMPTZ", "received_at": "TIMESTAMPTZ", "expires_at": "TIMESTAMPTZ", "rule_uid": "VARCHAR",
    "values": "MAP(VARCHAR, DOUBLE)"
}]')) AS one);

-- name: change_episodes
UPDATE episode
SET status = one.status, incident_id = one.incident_id, starts_at = one.starts_at, ends_at = one.ends_at,
    ended_by = one.ended_by, expires_at = one.expires_at
FROM (SELECT unnest(from_json($rows, '[{
    "episode_id": "VARCHAR", "status": "VARCHAR", "incident_id": "VARCHAR", "starts_at": "TIMESTAMPTZ",
    "ends_at": "TIMESTAMPTZ", "ended_by": "VARCHAR", "expires_at": "TIMESTAMPTZ"
}]'), recursive := true)) AS one
WHERE episode.episode_id = one.episode_id;

-- name: save_incidents
INSERT INTO incident BY NAME
SELECT one.*, 0 AS revision FROM (SELECT unnest(from_json($rows::VARCHAR, '[{
    "incident_id": "VARCHAR", "group_id": "VARCHAR", "status": "VARCHAR", "title": "VARCHAR",
    "service_name": "VARCHAR", "severity": "VARCHAR", "started_at": "TIMESTAMPTZ", "ended_at": "TIMESTAMPTZ", "opened_at": "TIMESTAMPTZ"
}]')) AS one);

-- name: change_incidents
UPDATE incident
SET status = one.status, title = one.title, severity = one.severity, started_at = one.started_at, ended_at = one.ended_at
FROM (SELECT unnest(from_json($rows, '[{
    "incident_id": "VARCHAR", "status": "VARCHAR", "title": "VARCHAR", "severity": "VARCHAR",
    "started_at": "TIMESTAMPTZ", "ended_at": "TIMESTAMPTZ"
}]'), recursive := true)) AS one
WHERE incident.incident_id = one.incident_id;

-- name: resolve_incidents
-- Of the $incidents those open ones whose episodes have all ended are resolved, and answered.
UPDATE incident SET status = 'resolved', ended_at = ended.ends_at
FROM (
    SELECT incident_id, max(ends_at) AS ends_at FROM episode
    WHERE incident_id IN (SELECT unnest(from_json($incidents, '["VARCHAR"]')))
    GROUP BY incident_id HAVING bool_and(status = 'resolved')
) AS ended
WHERE incident.incident_id = ended.incident_id AND incident.status = 'open'
RETURNING incident.incident_id;

-- name: enrich_episode
-- What was found out about an alert later; what is known is not forgotten, and the earliest start wins.
UPDATE episode
SET expr = coalesce($expr, expr), "value" = coalesce($value, "value"),
    active_at = least(active_at, $active_at::TIMESTAMPTZ)
WHERE episode_id = $episode_id
RETURNING incident_id;

-- name: start_incident_earlier
UPDATE incident SET started_at = $at
WHERE incident_id = $incident_id AND started_at > $at
RETURNING incident_id;
