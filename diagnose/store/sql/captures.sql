-- name: plan_captures
INSERT INTO capture BY NAME
SELECT one.* FROM (SELECT unnest(from_json($rows, '[{
    "capture_id": "VARCHAR", "incident_id": "VARCHAR", "target": "VARCHAR", "service_name": "VARCHAR",
    "service_instance_id": "VARCHAR", "kind": "VARCHAR", "phase": "VARCHAR", "trigger": "VARCHAR", "status": "VARCHAR",
    "reason": "VARCHAR", "http_status": "INTEGER", "requested_at": "TIMESTAMPTZ", "started_at": "TIMESTAMPTZ",
    "ended_at": "TIMESTAMPTZ", "lag_ms": "DOUBLE", "bytes": "BIGINT", "profile_id": "VARCHAR", "seconds": "INTEGER",
    "requests": "INTEGER", "took_ms": "DOUBLE"
}]')) AS one);

-- name: forget_captures
-- So that what is planned twice is there once.
DELETE FROM capture WHERE capture_id IN (SELECT unnest(from_json($ids, '["VARCHAR"]')));

-- name: start_capture
UPDATE capture SET status = 'running', started_at = $at WHERE capture_id = $capture_id;

-- name: finish_capture
-- Answers the capture if it was planned.
UPDATE capture
SET status = $status, reason = $reason, http_status = $http_status, started_at = coalesce($started_at, started_at),
    ended_at = $ended_at, lag_ms = $lag_ms, bytes = $bytes, profile_id = $profile_id, seconds = $seconds,
    requests = $requests, took_ms = $took_ms
WHERE capture_id = $capture_id RETURNING capture_id;

-- name: captures_of
SELECT capture_id, incident_id, target, service_name, service_instance_id, kind, phase, "trigger", status, reason,
    requested_at, http_status, started_at, ended_at, lag_ms, bytes, profile_id, seconds, requests, took_ms
FROM capture WHERE incident_id = $incident_id ORDER BY requested_at, rowid;

-- name: mark_lost
-- What was planned or running when the process ended.
UPDATE capture SET status = 'lost', reason = 'restart', ended_at = $at
WHERE status IN ('planned', 'running') RETURNING incident_id;

-- name: last_round
-- When the target was asked last; what was skipped did not reach it.
SELECT max(requested_at) AS requested_at FROM capture
WHERE target = $target AND service_instance_id = $instance AND "trigger" = $trigger AND status <> 'skipped';

-- name: rounds_since
-- The captures of one round are planned at one moment. Baselines have a schedule of their own and do not count.
SELECT count(DISTINCT requested_at) AS rounds FROM capture
WHERE target = $target AND service_instance_id = $instance AND requested_at >= $since
  AND "trigger" <> 'baseline' AND status <> 'skipped';

-- name: seconds_since
-- For how many seconds the target was profiled, baselines apart.
SELECT coalesce(sum(seconds), 0) AS seconds FROM capture
WHERE target = $target AND service_instance_id = $instance AND requested_at >= $since AND "trigger" <> 'baseline';

-- name: last_incident
-- The other incident for which the target was asked last.
SELECT arg_max(incident_id, requested_at) AS incident_id FROM capture
WHERE target = $target AND service_instance_id = $instance AND "trigger" = $trigger AND status <> 'skipped'
  AND incident_id <> $incident_id;

-- name: baseline_profiles
-- Profiles taken in health, by the schedule or after an incident, before $before: those of $instance first, newest first.
SELECT profile_id FROM profile
WHERE service_name = $service AND kind = $kind AND basis = $basis AND started_at < $before
  AND ($besides_build::VARCHAR IS NULL OR build_id <> $besides_build)
  AND (capture_id IN (SELECT capture_id FROM capture WHERE "trigger" IN ('baseline', 'resolved'))
       OR profile_id IN (SELECT profile_id FROM capture WHERE "trigger" IN ('baseline', 'resolved') AND status = 'done'))
ORDER BY coalesce(service_instance_id = $instance, false) DESC, started_at DESC
LIMIT $limit;
